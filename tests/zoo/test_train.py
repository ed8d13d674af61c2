"""Training: an interrupted run ends where an uninterrupted one does, and lessons are a function of recipe and step."""

from dataclasses import replace
from pathlib import Path

import pytest

from archon.zoo.lessons import Lesson, micro_batches, step_lessons
from archon.zoo.recipes import RECIPES, Part, Recipe, recipe

torch = pytest.importorskip("torch", reason="training needs the extra [local]")
PARTS = (Part(12, 4e-3, 100, vary=False), Part(8, 2e-3, 200, vary=True, cited=True, emphasis=3.0))
TINY = Recipe("tiny", seed=1, parts=PARTS, hidden=32, layers=1, heads=1, step_tokens=400, warm_up=4)


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    from archon.zoo.train import Trainer

    whole = Trainer(TINY, tmp_path / "whole")
    whole.run(log_every=5)
    first = Trainer(TINY, tmp_path / "parts")
    for _ in range(11):
        first.advance()
    first.keep()
    second = Trainer(TINY, tmp_path / "parts")
    second.resume()
    assert second.step == 11
    second.run()
    expected, found = whole.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    log = (tmp_path / "whole" / "log.jsonl").read_text()
    assert '"loss"' in log


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    from archon.zoo.train import Trainer

    trainer = Trainer(TINY, tmp_path)
    losses = [trainer.advance() for _ in range(20)]
    # An untrained model of 512 tokens starts near ln 512 = 6.2 nats.
    assert losses[0] > 6
    assert losses[-1] < losses[0] - 0.5


def test_lessons_depend_on_recipe_and_step_alone(tmp_path: Path) -> None:
    from archon.zoo.vocabulary import Vocabulary, build

    vocabulary = Vocabulary(build(lessons=200))
    again = Vocabulary(build(lessons=200))
    assert step_lessons(vocabulary, TINY, 3) == step_lessons(again, TINY, 3)
    assert step_lessons(vocabulary, TINY, 3) != step_lessons(vocabulary, TINY, 4)
    assert step_lessons(vocabulary, TINY, 3) != step_lessons(vocabulary, replace(TINY, seed=2), 3)


def test_micro_batches_keep_every_lesson_and_the_limit() -> None:
    lessons = [Lesson(list(range(n)), 1, n) for n in (2, 3, 5, 8, 40)]
    batches = list(micro_batches(lessons, 16))
    assert [made for batch in batches for made in batch] == lessons
    assert all(len(batch) == 1 or len(batch) * len(batch[-1].ids) <= 16 for batch in batches)


def test_only_answer_tokens_earn_loss(tmp_path: Path) -> None:
    from archon.zoo.network import batch_loss, new_model

    model = new_model(TINY)
    short = Lesson([5, 6, 7, 8], 2, 3)
    alone = batch_loss(model, [short])
    # By hand: the summed cross entropy of tokens 7 and 8 given what stands before them.
    logits = model(torch.tensor([short.ids])).logits[0]
    expected = torch.nn.functional.cross_entropy(logits[1:3], torch.tensor([7, 8]), reduction="sum")
    assert torch.allclose(alone, expected, atol=1e-5)
    judged = torch.nn.functional.cross_entropy(logits[2:3], torch.tensor([8]), reduction="sum")
    # The last token is a judgement: at emphasis 3 it counts two times more.
    assert torch.allclose(batch_loss(model, [short], 3.0), expected + 2 * judged, atol=1e-5)
    padded = batch_loss(model, [short, Lesson([5, 6, 7, 8, 9, 10], 6, 6)])
    assert torch.allclose(padded, expected, atol=1e-5)


def test_an_unknown_model_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=", ".join(RECIPES)):
        recipe("nobody")
