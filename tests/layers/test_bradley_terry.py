"""Bradley–Terry strengths: the maximum-likelihood condition, cycles, zero wins, no comparison at all."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layers._bradley_terry import strengths


def without_diagonal(rows: list[list[float]]) -> list[list[float]]:
    return [[0.0 if i == j else value for j, value in enumerate(row)] for i, row in enumerate(rows)]


def square(size: int) -> st.SearchStrategy[list[list[float]]]:
    row = st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=size, max_size=size)
    return st.lists(row, min_size=size, max_size=size).map(without_diagonal)


tables = st.integers(2, 5).flatmap(square)


def test_two_players_stand_in_the_ratio_of_their_wins() -> None:
    # 3 wins to 1 and half a win each from the prior: p0 / p1 = 3.5 / 1.5, and p0 · p1 = 1.
    assert strengths([[0, 3], [1, 0]]) == pytest.approx((math.sqrt(3.5 / 1.5), math.sqrt(1.5 / 3.5)))


def test_a_cycle_makes_all_equal() -> None:
    assert strengths([[0, 1, 0], [0, 0, 1], [1, 0, 0]]) == pytest.approx((1.0, 1.0, 1.0))


def test_one_who_never_won_has_a_positive_strength_below_the_others() -> None:
    never, once, always = strengths([[0, 0, 0], [2, 0, 0], [2, 2, 0]])
    assert 0 < never < once < always < 100


def test_those_who_never_met_are_equal() -> None:
    assert strengths([[0, 0], [0, 0]]) == (1.0, 1.0)
    assert strengths([[0]]) == (1.0,)
    assert strengths([]) == ()


@settings(deadline=None, max_examples=30)
@given(tables)
def test_expected_wins_equal_wins_at_the_maximum(wins: list[list[float]]) -> None:
    """The gradient of the log-likelihood in log p_i, the prior's tied game with everyone included, is zero."""
    size, p = len(wins), strengths(wins)
    for i in range(size):
        others = [j for j in range(size) if j != i]
        expected = sum((wins[i][j] + wins[j][i] + 1.0) * p[i] / (p[i] + p[j]) for j in others)
        assert expected == pytest.approx(sum(wins[i]) + 0.5 * len(others), abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(tables, st.randoms(use_true_random=False))
def test_strengths_do_not_depend_on_the_order_of_players(wins: list[list[float]], rng: random.Random) -> None:
    order = list(range(len(wins)))
    rng.shuffle(order)
    shuffled = strengths([[wins[i][j] for j in order] for i in order])
    assert shuffled == pytest.approx([strengths(wins)[i] for i in order], rel=1e-6)
