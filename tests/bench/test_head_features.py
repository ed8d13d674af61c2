"""The parts of the study of what a head may read: what precedes a token, what follows it, and what a rule is worth."""

from __future__ import annotations

import math

import pytest
import torch

from bench.head_features import Roll, before, next_labels, rolls, speedup
from specdec.dataset import Examples
from specdec.head import features
from specdec.policies.base import Signal
from specdec.threshold import Costs

CHANCES = [0.9, 0.6, 0.5, 0.8, 0.7]
WINDOWS = [0, 1, 0, 1, 0]
PLACES = [1, 1, 2, 2, 3]
TOKENS = [1.0, 0.5, 0.0, 1.0, 0.25]


def examples() -> Examples:
    """Two roll-outs, of three tokens and of two, side by side as they are made."""
    lines = [features(Signal(q, q), place, 1.0) for q, place in zip(CHANCES, PLACES, strict=True)]
    token, ones = torch.tensor(TOKENS), torch.ones(5)
    return Examples(
        torch.zeros(5, 2), torch.tensor(lines), token, token, ones, torch.tensor(WINDOWS), torch.tensor(PLACES)
    )


def test_what_was_drafted_before_is_that_of_the_same_round() -> None:
    found = before(examples())[:, 0].tolist()
    assert found == pytest.approx([0.0, 0.0, math.log(0.9), math.log(0.6), math.log(0.45)], abs=1e-5)


def test_the_next_token_is_that_of_the_same_round() -> None:
    labels, has = next_labels(examples())
    assert has.tolist() == [True, True, True, False, False]
    assert labels[has].tolist() == [0.0, 1.0, 0.25]


def test_a_round_is_its_tokens_in_their_order() -> None:
    first, second = rolls(examples(), torch.tensor(CHANCES), torch.ones(5))
    assert [roll.actual for roll in first] == [1.0, 0.0, 0.25]
    assert [round(roll.chance, 2) for roll in second] == [0.6, 0.8]


def test_the_speedup_is_that_of_the_best_bound() -> None:
    rounds = [[Roll(0.5, 1.0, 0.0), Roll(0.9, 1.0, 1.0)], [Roll(0.95, 1.0, 1.0), Roll(0.95, 1.0, 1.0)]]
    # Stopping after the first token of the first round: 1 + 3 tokens for 1.1 and 1.2 plain steps.
    assert speedup(rounds, Costs(0.05, 0.05)) == pytest.approx(4 / 2.3)
    foreseen = [[Roll(1.0, 0.1, 1.0), Roll(1.0, 1.0, 0.0)]]
    assert speedup(foreseen, Costs(0.5)) == pytest.approx(2 / 1.5)
