"""Intervals and tests against published figures and against their own promise (coverage, power)."""

from __future__ import annotations

import random
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.evals.metrics import mcnemar, mean_interval, paired_difference, smallest_detectable, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_wilson_interval_holds_its_share_and_stays_within_bounds(case: tuple[int, int]) -> None:
    successes, trials = case
    low, high = wilson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    mirrored = wilson(trials - successes, trials)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high), abs=1e-12)


def test_a_mean_of_zeros_and_ones_gets_the_interval_of_a_proportion() -> None:
    assert mean_interval([1.0] * 81 + [0.0] * 182) == wilson(81, 263)


def test_a_mean_of_other_scores_gets_students_interval() -> None:
    """Scores .2 .4 .6: mean .4, sd .2, half width 4.303·.2/√3 = .4969, cut at 0."""
    assert mean_interval([0.2, 0.4, 0.6]) == pytest.approx((0.0, 0.8969), abs=1e-4)
    assert mean_interval([0.5]) == (0.0, 1.0)


def test_no_scores_have_no_interval() -> None:
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])
    with pytest.raises(ValueError, match="equally many"):
        paired_difference([1.0], [])


def test_newcombe_gives_the_published_paired_interval() -> None:
    """1, 1, 7, 12 of 21 (Bentur 2009): −0.507 to −0.026 in Fagerland et al. 2014, Statistics in Medicine 33:2850."""
    first = [1.0] * 2 + [0.0] * 19
    second = [1.0, 0.0] + [1.0] * 7 + [0.0] * 12
    found = paired_difference(first, second)
    assert found.mean == pytest.approx(-6 / 21)
    assert found.ci95 == pytest.approx((-0.507, -0.026), abs=5e-4)
    assert (found.first_only, found.second_only, found.questions) == (1, 7, 21)
    assert found.p_value == pytest.approx(0.0703, abs=5e-5)  # 2·(C(8,0) + C(8,1)) / 2**8 = 18/256


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=80))
def test_a_paired_interval_holds_the_difference_and_turns_with_it(pairs: list[tuple[int, int]]) -> None:
    first, second = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    found, turned = paired_difference(first, second), paired_difference(second, first)
    assert -1 <= found.ci95.low <= found.mean <= found.ci95.high <= 1
    assert (-turned.ci95.high, -turned.ci95.low) == pytest.approx(tuple(found.ci95), abs=1e-9)


def test_equal_answers_everywhere_still_leave_doubt() -> None:
    """60 questions, both always right: Wilson's 60/60 is [.9398, 1], so the difference is within ±.0602."""
    same = paired_difference([1.0] * 60, [1.0] * 60)
    assert same.mean == 0
    assert same.ci95 == pytest.approx((-0.0602, 0.0602), abs=1e-4)
    assert same.p_value == 1


def test_the_paired_interval_covers_the_truth_as_often_as_it_says() -> None:
    """2,000 draws of 60 questions; P(both) .5, P(first only) .2, P(second only) .1: .1 is inside 93-98 % of them."""
    generator = random.Random(1)
    cells = ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0))
    inside = 0
    for _ in range(2000):
        drawn = generator.choices(cells, (0.5, 0.2, 0.1, 0.2), k=60)
        low, high = paired_difference([a for a, _ in drawn], [b for _, b in drawn]).ci95
        inside += low <= 0.1 <= high
    assert 0.93 <= inside / 2000 <= 0.98


def test_other_scores_are_compared_by_students_interval() -> None:
    """Differences .1 .2 .3: mean .2, sd .1, half width 4.303·.1/√3 = .2484."""
    found = paired_difference([0.6, 0.7, 0.8], [0.5, 0.5, 0.5])
    assert found.ci95 == pytest.approx((-0.0484, 0.4484), abs=1e-4)
    assert paired_difference([0.6], [0.5]).ci95 == (-1.0, 1.0)


def test_mcnemar_is_the_exact_binomial_test() -> None:
    """5 against 15: 2·(1 + 20 + 190 + 1140 + 4845 + 15504) / 2**20 = 43400 / 1048576."""
    assert mcnemar(5, 15) == mcnemar(15, 5) == pytest.approx(43400 / 1048576)
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_equals_the_sum_of_binomials(first: int, second: int) -> None:
    n, fewer = first + second, min(first, second)
    assert mcnemar(first, second) == pytest.approx(min(1, 2 * sum(comb(n, i) for i in range(fewer + 1)) / 2**n))


def test_mcnemar_of_thousands_does_not_overflow() -> None:
    """2,000 against 2,100: z = 99/√4100 = 1.546 with continuity correction, two-sided p = .122."""
    assert mcnemar(2000, 2100) == pytest.approx(0.122, abs=1e-3)


def test_smallest_detectable_solves_connors_formula() -> None:
    """n = 600, d = .3: δ = .0625 gives (1.95996·√.3 + .84162·√(.3 − .00391))² / .00391 = 600.3."""
    assert smallest_detectable(600) == pytest.approx(0.0625, abs=1e-4)
    assert smallest_detectable(10) is None
    with pytest.raises(ValueError, match="discordance"):
        smallest_detectable(100, 0.0)


def test_the_smallest_detectable_difference_is_detected_with_the_stated_power() -> None:
    """300 questions, discordance .3, δ = .0882: P(first only) .1941, P(second only) .1059; McNemar's asymptotic test
    has power .8, the exact one a little less."""
    delta = smallest_detectable(300)
    assert delta is not None
    generator = random.Random(2)
    found = 0
    for _ in range(2000):
        drawn = generator.choices((1, -1, 0), ((0.3 + delta) / 2, (0.3 - delta) / 2, 0.7), k=300)
        found += mcnemar(drawn.count(1), drawn.count(-1)) < 0.05
    assert 0.72 <= found / 2000 <= 0.83


@given(st.integers(30, 5000))
def test_more_questions_show_smaller_differences(questions: int) -> None:
    fewer, more = smallest_detectable(questions), smallest_detectable(questions + 100)
    assert fewer is not None
    assert more is not None
    assert more < fewer
