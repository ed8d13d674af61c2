"""Requests per minute: at most a bucket at once, then an even flow, whatever the pattern of arrival."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archon.proxy.rates import MINUTE, arrive

START = 1_767_355_200_000_000  # any time, in microseconds


def test_a_whole_minute_may_come_at_once_and_no_more() -> None:
    arrival, granted = 0, 0
    for _ in range(30):
        rate = arrive(arrival, START, 10)
        arrival, granted = rate.arrival, granted + rate.granted
    assert granted == 10


def test_a_refusal_says_when_and_is_granted_then() -> None:
    arrival = 0
    for _ in range(10):
        arrival = arrive(arrival, START, 10).arrival
    refused = arrive(arrival, START, 10)
    assert not refused.granted
    assert refused.retry_after == 6.0  # a minute holds 10, so one is free after 60 / 10 s
    assert not arrive(arrival, START + 5_999_999, 10).granted
    assert arrive(arrival, START + 6_000_000, 10).granted


def test_remaining_counts_down_to_none() -> None:
    arrival, left = 0, []
    for _ in range(3):
        rate = arrive(arrival, START, 3)
        arrival = rate.arrival
        left.append(rate.remaining)
    assert left == [2, 1, 0]


@given(st.integers(1, 1000), st.lists(st.integers(0, 5_000_000), max_size=200))
def test_no_pattern_gets_more_than_a_bucket_and_the_flow(per_minute: int, gaps: list[int]) -> None:
    arrival, now, granted = 0, START, 0
    for gap in gaps:
        now += gap
        rate = arrive(arrival, now, per_minute)
        arrival, granted = rate.arrival, granted + rate.granted
    # A bucket of per_minute, and one more for every interval that passed.
    assert granted <= per_minute + (now - START) // (MINUTE // per_minute)


@given(st.integers(1, 500), st.integers(0, 10**9))
def test_a_key_that_waited_a_minute_has_its_whole_bucket(per_minute: int, later: int) -> None:
    arrival = 0
    for _ in range(per_minute):
        arrival = arrive(arrival, START, per_minute).arrival
    now = START + MINUTE + later
    for _ in range(per_minute):
        rate = arrive(arrival, now, per_minute)
        arrival = rate.arrival
        assert rate.granted
