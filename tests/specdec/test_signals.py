"""Signals: what a policy reads of a drafted token, and what is spared where nobody asks."""

from __future__ import annotations

import math

import pytest
import torch

from specdec.policies.base import Need
from specdec.signals import read_signals

BOTH: frozenset[Need] = frozenset({"probs", "entropy"})
ENTROPY: frozenset[Need] = frozenset({"entropy"})
DIST = torch.tensor([[0.7, 0.2, 0.1], [0.98, 0.01, 0.01]])


def test_signals_are_those_of_the_drawn_token() -> None:
    first, second = read_signals(BOTH, DIST, [1, 0])
    assert (first.token_prob, first.max_prob) == pytest.approx((0.2, 0.7))
    # −Σ q ln q of (0.7, 0.2, 0.1).
    assert first.entropy == pytest.approx(-sum(q * math.log(q) for q in (0.7, 0.2, 0.1)))
    assert second.token_prob == pytest.approx(0.98)


def test_what_is_not_needed_keeps_its_default() -> None:
    assert read_signals(frozenset(), DIST, [1, 0]) == [read_signals(frozenset(), DIST[:1], [1])[0]] * 2
    (signal,) = read_signals(ENTROPY, DIST[:1], [1])
    assert (signal.token_prob, signal.max_prob) == (1.0, 1.0)
