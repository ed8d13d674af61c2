"""Amounts add up, and bounds say what they bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.amounts import Amount, Bounds

AMOUNTS = st.builds(Amount, *[st.integers(0, 10**9)] * 4)


@given(AMOUNTS, AMOUNTS)
def test_what_is_added_can_be_taken_away(one: Amount, other: Amount) -> None:
    assert one + other - other == one
    assert (one + other).fields() == (other + one).fields()


def test_dollars_are_known_only_where_every_call_has_a_price() -> None:
    assert Amount(2, 10, 1_500_000).cost_usd == 1.5
    assert Amount(2, 10, 1_500_000, 1).cost_usd is None


@pytest.mark.parametrize(
    ("amount", "over"),
    [
        (Amount(3, 10, 100), []),
        (Amount(4, 10, 100), ["calls"]),
        (Amount(3, 11, 101), ["tokens", "USD"]),
    ],
)
def test_a_bound_holds_what_is_equal_to_it(amount: Amount, over: list[str]) -> None:
    assert Bounds.checked(3, 10, 0.0001).excess(amount) == over
    assert Bounds().excess(amount) == []
