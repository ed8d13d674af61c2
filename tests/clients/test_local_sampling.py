"""Draws: distribution, filters, and independence of everything but the row itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from archon.clients.local_sampling import Draw, chances, draw_tokens, uniforms


def test_uniforms_depend_on_seed_and_step_alone() -> None:
    alone = [float(uniforms([seed], [step])[0]) for seed, step in ((3, 0), (3, 1), (4, 0))]
    assert alone == list(uniforms([3, 3, 4], [0, 1, 0]))
    assert len(set(alone)) == 3


def test_the_uniforms_are_those_of_splitmix64() -> None:
    def mixed(bits: int) -> int:
        bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
        return bits ^ bits >> 31

    golden = 0x9E3779B97F4A7C15
    assert mixed(golden) == 0xE220A8397B1DCDAF  # the first output of SplitMix64 seeded with 0, as published
    key = mixed((2**63 + golden) % 2**64)
    assert float(uniforms([2**63], [4])[0]) == (mixed((key + 5 * golden) % 2**64) >> 11) / 2**53


def test_uniforms_are_even_and_uncorrelated() -> None:
    seeds, steps = np.meshgrid(np.arange(400), np.arange(100))
    drawn = uniforms(seeds.ravel().tolist(), steps.ravel().tolist())
    assert drawn.min() >= 0
    assert drawn.max() < 1
    # Chi-square with 19 degrees of freedom exceeds 43.8 with probability 0.001.
    counts = np.bincount((drawn * 20).astype(int), minlength=20)
    assert ((counts - 2000) ** 2 / 2000).sum() < 43.8
    # The correlation of 40,000 independent pairs has deviation 1/200; neighbours in step and in seed are tried.
    grid = drawn.reshape(100, 400)
    for one, other in ((grid[:-1], grid[1:]), (grid[:, :-1], grid[:, 1:])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 5 / 200


def test_draws_follow_the_tempered_distribution() -> None:
    logits, temperature, count = torch.tensor([2.0, 1.0, 0.0, -1.0]), 0.7, 20_000
    drawn = draw_tokens(logits.expand(count, 4), [Draw(seed, temperature) for seed in range(count)], [0] * count)
    wanted = (logits.double() / temperature).softmax(0) * count
    # Chi-square with 3 degrees of freedom exceeds 16.3 with probability 0.001.
    assert float(((torch.bincount(torch.tensor(drawn), minlength=4) - wanted) ** 2 / wanted).sum()) < 16.3


def seen(logits: list[float], **settings: float | None) -> set[int]:
    """The tokens that 2,000 seeds draw."""
    rows = torch.tensor([logits]).expand(2000, -1)
    return set(draw_tokens(rows, [Draw(seed, **settings) for seed in range(2000)], [0] * 2000))  # type: ignore[arg-type]


def test_top_k_keeps_the_most_likely_and_of_equals_the_first() -> None:
    assert seen([0.0, 3.0, 2.0, 2.5], top_k=2) == {1, 3}
    assert seen([1.0, 1.0, 1.0, 1.0], top_k=2) == {0, 1}
    assert seen([1.0, 1.0, 1.0], top_k=9) == {0, 1, 2}


def test_top_p_keeps_the_smallest_set_that_reaches_its_mass() -> None:
    logits = [math.log(share) for share in (0.1, 0.5, 0.3, 0.1)]
    assert seen(logits, top_p=0.45) == {1}
    assert seen(logits, top_p=0.55) == {1, 2}
    assert seen(logits, top_p=0.85) == {0, 1, 2}
    assert seen(logits, top_p=1.0) == {0, 1, 2, 3}
    assert seen(logits, top_p=1e-9) == {1}


def test_top_p_counts_within_what_top_k_left() -> None:
    logits = [math.log(share) for share in (0.1, 0.5, 0.3, 0.1)]
    # Of the two that top_k leaves the first has 5/8 = 0.625 of the mass.
    assert seen(logits, top_k=2, top_p=0.6) == {1}
    assert seen(logits, top_k=2, top_p=0.65) == {1, 2}


def test_temperature_zero_takes_the_most_likely_whatever_the_filters() -> None:
    assert seen([0.0, 3.0, 2.0], temperature=0.0) == {1}
    assert seen([0.0, 3.0, 2.0], temperature=0.0, top_k=2, top_p=0.1) == {1}


@pytest.mark.parametrize("impossible", [[0], [2], [0, 2]])
def test_a_token_of_no_weight_is_never_drawn(impossible: list[int]) -> None:
    logits = torch.zeros(3)
    logits[impossible] = -1e5
    assert seen(logits.tolist()).isdisjoint(impossible)


ROWS = st.tuples(
    st.integers(0, 2**64 - 1),
    st.sampled_from([0.0, 0.3, 1.0, 2.0]),
    st.sampled_from([None, 1, 3]),
    st.sampled_from([None, 0.2, 0.9, 1.0]),
    st.integers(0, 500),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=9), st.integers(0, 1000))
def test_a_row_draws_in_company_what_it_draws_alone(rows: list[tuple[int, float, int, float, int]], noise: int) -> None:
    logits = torch.randn(len(rows), 50, generator=torch.Generator().manual_seed(noise)) * 3
    draws = [Draw(*row[:4]) for row in rows]
    steps = [row[4] for row in rows]
    together = draw_tokens(logits, draws, steps)
    assert together == [draw_tokens(logits[[i]], [draws[i]], [steps[i]])[0] for i in range(len(rows))]


def test_log_probabilities_are_of_the_model_itself() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0]])
    wanted = logits.double().log_softmax(-1)[0].tolist()
    ((own, top),) = chances(logits, [2], 5)
    assert own == wanted[2]
    assert top == [(1, wanted[1]), (2, wanted[2]), (0, wanted[0])]
