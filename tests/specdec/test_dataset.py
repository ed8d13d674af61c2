"""Roll-outs: labels on the drafted prefix at the served temperature, against models read from the start."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise

import pytest
import torch

from specdec.dataset import Examples, Text, roll_out
from specdec.errors import SpecDecError
from specdec.models import feed
from specdec.params import Sampling
from tests.specdec.tiny import TableModel

TARGET, DRAFT = TableModel(1, vocab=8), TableModel(2, vocab=8)
GENERATOR = torch.Generator().manual_seed(0)


def text(length: int, temperature: float, prompt: int = 3) -> Text:
    return Text(
        tuple(torch.randint(8, (length,), generator=GENERATOR).tolist()), prompt, Sampling(temperature=temperature)
    )


TEXTS = [text(40, 1.0), text(25, 0.0), text(31, 0.5), text(40, 1.0)]


def rolled(mix: float = 0.0, seed: int = 0, texts: list[Text] = TEXTS, eos: frozenset[int] = frozenset()) -> Examples:
    return roll_out(TARGET, DRAFT, texts, horizon=4, mix=mix, seed=seed, eos=eos, batch=3)


def softmaxes(model: TableModel, tokens: list[int]) -> torch.Tensor:
    cache = model.new_cache()
    lines: torch.Tensor = torch.softmax(model.logits(feed(model, cache, [cache.add_row()], [tokens])), -1)
    return lines


def test_labels_and_states_are_those_of_the_drafted_prefix() -> None:
    # A draft that nearly always proposes token 5 makes the drafted prefix known without looking inside.
    class Stuck(TableModel):
        def logits(self, hidden: torch.Tensor) -> torch.Tensor:
            return super().logits(hidden) + 60 * torch.eye(8, dtype=self.dtype)[5]

    only = text(30, 1.0)
    found = roll_out(TARGET, Stuck(2, vocab=8), [only], horizon=4, mix=0.0, seed=1, eos=frozenset())
    for number, start in enumerate(_starts(only, found)[:3]):
        standing = 1.0
        for place in range(1, 5):
            at = (found.window == number) & (found.place == place)
            expected = _label(only, start, place)
            assert found.token[at].item() == pytest.approx(expected, abs=1e-6)
            assert found.overlap[at].item() == pytest.approx(expected, abs=1e-6)
            assert found.standing[at].item() == pytest.approx(standing, abs=1e-6)
            standing *= expected


def _starts(given: Text, found: Examples) -> list[int]:
    """Where in the text each roll-out began, told by the label of its first five."""
    firsts = found.token[found.place == 1].tolist()
    every = {start: _label(given, start, 1) for start in range(given.prompt, len(given.tokens))}
    return [min(every, key=lambda start: abs(every[start] - first)) for first in firsts]


def _label(given: Text, start: int, place: int) -> float:
    """min(1, p(5)/1) after the text's first `start` tokens and place − 1 fives."""
    return float(softmaxes(TARGET, [*given.tokens[:start], *[5] * (place - 1)])[-1, 5])


def test_the_states_are_the_drafts_own() -> None:
    found = rolled(texts=[TEXTS[0]])
    cache = DRAFT.new_cache()
    states = feed(DRAFT, cache, [cache.add_row()], [list(TEXTS[0].tokens)]).float()
    firsts = found.hidden[found.place == 1]
    # The first token of each roll-out is drawn after a prefix of the text itself, one to five tokens further each time.
    starts = [int((states - line).abs().sum(-1).argmin()) for line in firsts]
    assert {after - before for before, after in pairwise(starts)} <= {1, 2, 3, 4, 5}
    assert all(torch.allclose(states[start], line, atol=1e-6) for start, line in zip(starts, firsts, strict=True))


class Wrong(TableModel):
    """Finds most likely what the model of the same seed finds least likely."""

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return -super().logits(hidden)


@pytest.mark.parametrize(("draft", "step"), [(TARGET, 5), (Wrong(1, vocab=8), 1)])
def test_the_next_roll_out_begins_after_the_tokens_that_stand_and_one_of_the_targets(
    draft: TableModel, step: int
) -> None:
    # A draft that is the target has all four tokens stand, one that never agrees with it none.
    found = roll_out(TARGET, draft, [TEXTS[1]], horizon=4, mix=0.0, seed=3, eos=frozenset())
    rounds, length = int((found.place == 1).sum()), len(TEXTS[1].tokens)
    assert rounds == -(-(length - TEXTS[1].prompt) // step)
    assert set(found.standing[found.place > 1].tolist()) == {1.0 if step == 5 else 0.0}


def test_at_temperature_zero_both_labels_are_agreement() -> None:
    found = rolled(texts=[TEXTS[1]])
    assert set(found.token.tolist()) <= {0.0, 1.0}
    assert torch.equal(found.token, found.overlap)


def test_the_drawn_tokens_label_averages_to_the_overlap() -> None:
    many = [rolled(seed=seed, texts=[TEXTS[0], TEXTS[3]]) for seed in range(60)]
    token, exact = (torch.cat([getattr(one, name) for one in many]) for name in ("token", "overlap"))
    # E over x ~ q of min(1, p/q) is Σ min(p, q); the standard error here is about .4/√1100 = .012.
    assert token.mean().item() == pytest.approx(exact.mean().item(), abs=0.04)


def test_mixed_in_tokens_are_no_examples_and_are_drawn_anew_with_the_seed() -> None:
    whole, mixed, again = rolled(), rolled(mix=0.5), rolled(mix=0.5, seed=1)
    per_window = [len(found) / len(found.window.unique()) for found in (whole, mixed)]
    assert per_window[0] == 4
    assert 1.5 < per_window[1] < 2.8
    assert len(mixed) != len(again)


def test_the_same_seed_gives_the_same_examples() -> None:
    one, other = rolled(mix=0.2, seed=5), rolled(mix=0.2, seed=5)
    assert all(torch.equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(Examples))


def test_nothing_drafted_after_an_end_of_text_is_an_example() -> None:
    found = rolled(eos=frozenset(range(8)))
    assert set(found.place.tolist()) == {1}


def test_a_text_shorter_than_a_roll_out_still_gives_one() -> None:
    short = text(5, 1.0)
    for seed in range(10):
        found = rolled(seed=seed, texts=[short])
        assert found.place[:4].tolist() == [1, 2, 3, 4]


def test_texts_without_room_for_a_roll_out_are_refused() -> None:
    with pytest.raises(SpecDecError, match="longer texts or a smaller horizon"):
        roll_out(TARGET, DRAFT, [], horizon=4, mix=0.0, seed=0, eos=frozenset())
