"""The ledger's arithmetic, against a model that keeps every request in a list."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.proxy.book import Claim, Entry, Outcome, Page, State, Total, decide, settle

ACCOUNT = ("key_1", "2026-01-02")
NOON = 1_767_355_200.0  # 2026-01-02 12:00 UTC


def claim(
    name: str, micro_usd: int = 10, tokens: int = 10, *, usd: int | None = None, most_tokens: int | None = None
) -> Claim:
    return Claim(name, ACCOUNT, "req", micro_usd, tokens, usd, most_tokens, None, NOON)


@dataclass
class Memory:
    """A book in memory: what a database does, without one."""

    totals: dict[tuple[str, str], Total]
    entries: dict[str, Entry]

    def commit(self, claims: list[Claim], outcomes: list[Outcome]) -> list[bool]:
        page = Page(self.totals, {}, {o.id: self.entries[o.id] for o in outcomes if o.id in self.entries})
        settle(page, outcomes)
        self.entries.update(page.entries)
        grants = decide(page, claims)
        for c in page.opened:
            self.entries[c.id] = Entry(c.id, c.account, "open", c.micro_usd, c.tokens)
        return [grant.refusal is None for grant in grants]


STEPS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 60), max_size=4),  # worst cases of new requests
        st.lists(st.tuples(st.sampled_from(("settled", "worst", "released")), st.integers(0, 60)), max_size=4),
    ),
    max_size=30,
)


@given(STEPS, st.integers(0, 300))
def test_totals_are_the_sum_of_the_requests_and_never_pass_the_limit(
    steps: list[tuple[list[int], list[tuple[State, int]]]], limit: int
) -> None:
    book = Memory({}, {})
    charged: dict[str, int] = {}
    under_way: list[tuple[str, int]] = []
    count = 0
    for wants, ends in steps:
        outcomes = []
        for state, share in ends[: len(under_way)]:
            name, worst = under_way.pop(0)
            bill = {"settled": min(share, worst), "worst": worst, "released": 0}[state]
            outcomes.append(Outcome(name, state, bill, bill))
            charged[name] = bill
        claims = [claim(f"c{count + i}", want, want, usd=limit) for i, want in enumerate(wants)]
        count += len(wants)
        granted = book.commit(claims, outcomes)
        under_way += [(c.id, c.micro_usd) for c, yes in zip(claims, granted, strict=True) if yes]
        total = book.totals.get(ACCOUNT, Total())
        assert total.spent_micro_usd == total.spent_tokens == sum(charged.values())
        assert total.held_micro_usd == total.held_tokens == sum(worst for _, worst in under_way)
        assert total.spent_micro_usd + total.held_micro_usd <= limit


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20), st.integers(0, 200))
def test_a_request_is_refused_only_where_it_would_pass_the_limit(wants: list[int], limit: int) -> None:
    book = Memory({}, {})
    held = 0
    for index, want in enumerate(wants):
        (granted,) = book.commit([claim(f"c{index}", want, usd=limit)], [])
        assert granted == (held + want <= limit)
        held += want if granted else 0


def test_a_refusal_by_the_days_budget_says_when_the_day_ends() -> None:
    book = Page({ACCOUNT: Total(spent_micro_usd=95)}, {}, {})
    (grant,) = decide(book, [claim("c", 10, usd=100)])
    assert grant.refusal is not None
    assert grant.refusal.code == "insufficient_quota"
    assert grant.refusal.retry_after == 12 * 3600  # from noon to midnight UTC
    assert "0.000010 USD of 0.000100" in str(grant.refusal)


def test_a_refusal_for_what_others_hold_may_be_tried_again_soon() -> None:
    book = Page({ACCOUNT: Total(spent_micro_usd=50, held_micro_usd=45)}, {}, {})
    (grant,) = decide(book, [claim("c", 10, usd=100)])
    assert grant.refusal is not None
    assert grant.refusal.code == "rate_limit_exceeded"
    assert grant.refusal.retry_after == 1.0


def test_tokens_are_bounded_as_dollars_are() -> None:
    book = Page({}, {}, {})
    first, second = decide(book, [claim("a", tokens=60, most_tokens=100), claim("b", tokens=60, most_tokens=100)])
    assert first.refusal is None
    assert first.tokens_left == 40
    assert second.refusal is not None
    assert "60 tokens of 100" in str(second.refusal)


def test_room_made_by_an_outcome_is_granted_in_the_same_commit() -> None:
    book = Memory({}, {})
    assert book.commit([claim("a", 100, usd=100)], []) == [True]
    assert book.commit([claim("b", 100, usd=100)], []) == [False]
    assert book.commit([claim("c", 100, usd=100)], [Outcome("a", "released", 0, 0)]) == [True]


def test_a_bill_that_comes_after_all_replaces_the_worst_case() -> None:
    book = Memory({}, {})
    book.commit([claim("a", 100, 100)], [])
    book.commit([], [Outcome("a", "worst", 100, 100, "its process died")])
    assert book.totals[ACCOUNT] == Total(100, 100, 0, 0, 100, 1)
    book.commit([], [Outcome("a", "settled", 30, 20)])
    assert book.totals[ACCOUNT] == Total(30, 20, 0, 0, 0, 1)


@pytest.mark.parametrize("first", ["settled", "released"])
def test_an_entry_that_is_settled_stays_as_it_is(first: State) -> None:
    book = Memory({}, {})
    book.commit([claim("a", 100, 100)], [])
    book.commit([], [Outcome("a", first, 5, 5)])
    before = Total(*(getattr(book.totals[ACCOUNT], name) for name in Total.__slots__))
    book.commit([], [Outcome("a", "settled", 50, 50)])
    assert book.totals[ACCOUNT] == before


def test_an_outcome_of_nothing_known_changes_nothing() -> None:
    book = Memory({}, {})
    book.commit([], [Outcome("ghost", "settled", 5, 5)])
    assert book.totals == {}
