"""The derived threshold against cases that can be worked out by hand."""

from __future__ import annotations

import pytest

from specdec.threshold import Costs, Window, best_length, derive, drafted_by, rate


def constant(beta: float, length: int = 20) -> list[Window]:
    return [Window((beta,) * length, (beta,) * length)]


def test_a_round_costs_its_tokens_and_a_plain_step_one() -> None:
    costs = Costs(draft=0.2, verify=0.05, overhead=0.1)
    assert costs.round(0) == 1.0
    assert costs.round(4) == pytest.approx(1.1 + 4 * 0.25)


def test_the_rule_stops_with_the_token_that_falls_below() -> None:
    # .8, .64, .512: the third is the first below .6.
    assert drafted_by((0.8,) * 5, 0.6) == 3
    assert drafted_by((0.8,) * 2, 0.1) == 2


def test_rate_of_a_constant_acceptance_is_leviathans_formula() -> None:
    # K = 4, α = .8, c = .2: (1 − .8⁵)/(1 − .8)/(1 + .8) = 3.3616/1.8.
    least = 0.8**4 + 1e-9
    assert rate(constant(0.8), least, Costs(0.2)) == pytest.approx(3.3616 / 1.8)


def test_with_constant_acceptance_no_rule_beats_the_best_fixed_length_and_this_reaches_it() -> None:
    best = max(sum(0.8**i for i in range(k + 1)) / (1 + 0.2 * k) for k in range(21))
    found = derive(constant(0.8), Costs(0.2))
    assert found.rate == pytest.approx(best)
    assert found.h == pytest.approx(1 - found.multiplier * found.rate * 0.2, abs=0.02)


def test_known_bursts_are_worth_more_than_any_fixed_length() -> None:
    windows = [Window((0.97,) * 20, (0.97,) * 20), Window((0.4,) * 20, (0.4,) * 20)]
    costs = Costs(0.2)

    def fixed(k: int) -> float:
        tokens = sum(1 + sum(w.actual[0] ** i for i in range(1, k + 1)) for w in windows)
        return tokens / (2 * costs.round(k))

    assert derive(windows, costs).rate > 1.1 * max(fixed(k) for k in range(1, 21))


def test_verification_that_costs_as_much_as_drafting_shortens_the_round() -> None:
    cheap, dear = (derive(constant(0.9), Costs(0.1, verify)) for verify in (0.0, 0.3))
    assert dear.h < cheap.h
    assert dear.rate < cheap.rate


def test_a_draft_as_dear_as_the_target_does_not_pay() -> None:
    assert not derive(constant(0.7), Costs(1.0, 0.1, 0.2)).pays
    assert derive(constant(0.7), Costs(0.1)).pays


def test_a_round_of_several_rows_lasts_as_long_as_its_longest_draft() -> None:
    # Drafts of 1 and 3 tokens, each every other time: the longer of two is 3 in 3 of 4 rounds, 2.5 in the mean.
    windows = [Window((0.1,), (0.1,)), Window((1.0, 1.0, 0.1), (1.0, 1.0, 0.1))]
    tokens = 1 + (0.1 + (1 + 1 + 0.1)) / 2
    costs = Costs(draft=0.1, verify=0.1, overhead=0.5)
    assert rate(windows, 0.5, costs) == pytest.approx(tokens / (1 + 0.5 + 2 * 0.2))
    assert rate(windows, 0.5, costs, batch=2) == pytest.approx(tokens / (1 + 0.5 + 2.5 * 0.2))


def test_among_many_rows_drafts_are_bounded_that_would_hold_up_the_others() -> None:
    # One row in ten could draft twenty tokens; among 64 rows there is all but always one, for whom all would wait.
    windows = [Window((0.8,) * 2, (0.8,) * 2)] * 9 + [Window((1.0,) * 20, (0.9,) * 20)]
    costs = Costs(draft=0.2, verify=0.1, overhead=0.1)
    alone, _ = best_length(windows, costs, 1)
    many, threshold = best_length(windows, costs, 64)
    assert many < alone
    assert threshold.rate >= derive(windows, costs, batch=64).rate


def test_the_formula_is_preferred_to_what_is_better_by_less_than_can_be_told() -> None:
    # Two kinds of roll-outs, the second a little worse than predicted: another multiplier than 1 is 2 % better.
    windows = [Window((0.95,) * 3 + (0.7,) * 9, (0.95,) * 3 + (0.68,) * 9), Window((0.8,) * 12, (0.77,) * 12)]
    costs = Costs(0.1, 0.05)
    best, formula = derive(windows, costs), derive(windows, costs, multipliers=(1.0,))
    assert best.multiplier != 1.0
    assert 1.0 < best.rate / formula.rate < 1.05
    assert derive(windows, costs, level=1.05) == formula
    assert derive(windows, costs, level=1.0) == best
