"""The pace finds out by itself where drafting pays, keeps looking, and derives its bound from what it saw."""

from __future__ import annotations

import random

import pytest

from specdec.pace import Pace, Paced
from specdec.policies import Signal


def serve(pace: Pace, rows: int, steps: int, *, plain: float, round_: float, tokens: int = 4) -> list[bool]:
    """Serves steps on a machine where a plain step and a speculative round take so many seconds; what was chosen."""
    chosen = []
    for _ in range(steps):
        chosen.append(pace.drafts(rows))
        if chosen[-1]:
            pace.saw_round(rows, tokens=tokens * rows, drafted=5 * rows, drafting=0.2 * round_, verifying=0.8 * round_)
        else:
            pace.saw_plain(rows, plain)
    return chosen


def test_what_pays_is_used_after_a_few_steps() -> None:
    # 4 tokens in 2 seconds against 1 in 1.
    assert all(serve(Pace(), 1, 60, plain=1.0, round_=2.0)[10:])


def test_what_does_not_pay_is_left_after_a_few_steps() -> None:
    assert not any(serve(Pace(), 1, 60, plain=1.0, round_=5.0)[10:])


def test_what_does_not_pay_is_tried_again_ever_more_rarely() -> None:
    pace = Pace()
    serve(pace, 1, 20, plain=1.0, round_=5.0)
    shares = [sum(serve(pace, 1, 1000, plain=1.0, round_=5.0)) / 1000 for _ in range(5)]
    assert shares[0] <= 0.02
    assert shares[-1] <= 0.003
    assert sum(shares) > 0


def test_a_machine_that_changes_is_noticed() -> None:
    pace = Pace()
    serve(pace, 1, 100, plain=1.0, round_=5.0)
    assert pace.pays(1) is False
    serve(pace, 1, 20_000, plain=1.0, round_=1.5)
    assert pace.pays(1) is True
    assert all(serve(pace, 1, 30, plain=1.0, round_=1.5))


def test_many_rows_are_not_tried_before_it_paid_among_fewer() -> None:
    pace = Pace()
    assert not any(serve(pace, 64, 5000, plain=1.0, round_=0.1))
    for rows in (4, 8, 16, 32):
        serve(pace, rows, 50, plain=1.0, round_=2.0)
    assert all(serve(pace, 64, 60, plain=1.0, round_=2.0)[10:])


def test_every_number_of_rows_is_judged_by_itself() -> None:
    pace = Pace()
    serve(pace, 1, 50, plain=1.0, round_=2.0)
    serve(pace, 4, 50, plain=1.0, round_=6.0)
    assert (pace.pays(1), pace.pays(4), pace.pays(16)) == (True, False, None)


def test_a_step_that_was_held_up_does_not_change_the_verdict() -> None:
    pace, chooser = Pace(), random.Random(0)
    for _ in range(400):
        held = 50.0 if chooser.random() < 0.01 else 1.0
        serve(pace, 1, 1, plain=1.0, round_=2.0 * held)
    assert pace.pays(1)


def test_the_bound_is_the_rate_times_the_cost_of_a_token() -> None:
    pace = Pace()
    assert pace.least(1) == 0.4
    serve(pace, 1, 60, plain=1.0, round_=2.0)
    # 2 tokens a second; a drafted token takes .4/5 s, and the pass over five of them .6 s more than a plain step.
    assert pace.least(1) == pytest.approx(2 * (0.08 + 0.12))


def test_drafting_stops_below_the_bound() -> None:
    pace = Pace()
    policy = Paced(pace, maximum=9)
    assert policy.limit(1) == 9
    assert policy.go_on([Signal(accept=0.9)] * 8, 1)  # .43 ≥ .4
    assert not policy.go_on([Signal(accept=0.9)] * 9, 1)
    assert policy.for_row() is policy
    # A bound of .2: the token that a head tuned to stop earlier gives up is still drafted.
    assert Paced(pace, multiplier=0.5).go_on([Signal(accept=0.9)] * 9, 1)
    # However tuned, a draft that is all but sure goes on, and one that is all but lost ends.
    assert Paced(pace, multiplier=9.0).go_on([Signal(accept=0.96)], 1)
    assert not Paced(pace, multiplier=0.0).go_on([Signal(accept=0.04)], 1)
