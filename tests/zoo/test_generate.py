"""Batched generation: the batch changes nothing, seeds decide, answers end."""

import pytest

from archon.zoo.recipes import Recipe

torch = pytest.importorskip("torch", reason="generation needs the extra [local]")

from archon.zoo.generate import Prompt, Speaker  # noqa: E402
from archon.zoo.network import new_model  # noqa: E402
from archon.zoo.vocabulary import Vocabulary, build  # noqa: E402

PROMPTS: list[Prompt] = [
    ("solve", ("Ann has 4 pens.",)),
    ("fuse", ("Ann has 4 pens.", "candidate", "4 + 4 = 8 ; answer 8")),
    ("solve", ("How many?",)),
]


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    made_by = Recipe("tiny", seed=1, hidden=32, layers=2, heads=1)
    return Speaker(new_model(made_by).eval(), Vocabulary(build(lessons=200)))


def test_greedy_answers_do_not_depend_on_the_batch(speaker: Speaker) -> None:
    together = speaker.say(PROMPTS, most=12)
    assert together == [speaker.say([prompt], most=12)[0] for prompt in PROMPTS]
    assert together == speaker.say(PROMPTS, most=12, batch=2)


def test_a_seed_decides_the_samples(speaker: Speaker) -> None:
    first = speaker.say(PROMPTS, temperature=1.0, seed=1, most=12)
    assert first == speaker.say(PROMPTS, temperature=1.0, seed=1, most=12)
    assert first != speaker.say(PROMPTS, temperature=1.0, seed=2, most=12)


def test_an_answer_is_at_most_as_long_as_asked(speaker: Speaker) -> None:
    assert all(len(speaker.vocabulary.plain(text)) <= 5 for text in speaker.say(PROMPTS[:1], most=5))
