"""Acceptance and residual on their own."""

from __future__ import annotations

import pytest
import torch

from specdec.sampling import SeededDraws
from specdec.verify import Verdict, acceptance, overlap, residual, verify, verify_greedy

P = torch.tensor([[0.7, 0.3, 0.0], [0.2, 0.2, 0.6]])
Q = torch.tensor([[0.4, 0.4, 0.2]])


def test_acceptance_is_p_over_q_of_the_drafted_token() -> None:
    assert acceptance([0], Q, P) == pytest.approx([1.75])
    assert acceptance([1], Q, P) == pytest.approx([0.75])
    assert acceptance([2], Q, P) == [0.0]
    assert acceptance([], Q[:0], P) == []


def test_residual_is_what_p_has_above_q() -> None:
    assert residual(P[0], Q[0]).tolist() == pytest.approx([0.3, 0.0, 0.0])


def test_equal_distributions_leave_no_nan() -> None:
    left = residual(P[0], P[0])
    assert left.tolist() == P[0].tolist()
    for seed in range(50):
        token = SeededDraws(seed).categorical(P[0])
        assert verify([token], P[:1], P, SeededDraws(seed)).accepted == 1


def test_a_token_the_target_excludes_is_replaced_from_the_residual() -> None:
    assert verify([2], Q, P, SeededDraws(0)) == Verdict(0, 0)


def test_greedy_stops_at_the_first_difference() -> None:
    assert verify_greedy([4, 5, 6], [4, 5, 9, 1]) == Verdict(2, 9)
    assert verify_greedy([4, 5, 6], [4, 5, 6, 1]) == Verdict(3, 1)
    assert verify_greedy([], [8]) == Verdict(0, 8)


def test_overlap_is_one_minus_total_variation() -> None:
    # TV = ½(.3 + .1 + .2) = .3
    assert overlap(P[:1], Q).tolist() == pytest.approx([0.7])
