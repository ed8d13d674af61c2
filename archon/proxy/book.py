"""What a ledger writes down, and the decisions it makes: pure arithmetic on integers, no file and no clock.

One commit takes the outcomes of calls that ended and the claims of requests that wait, in that order, so that room made
free is room to grant. Amounts are micro-dollars and tokens of a key's UTC day (the day the request was reserved on).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from archon.proxy.quota import QuotaError
from archon.proxy.rates import Rate, arrive

DAY = 86_400
"""Seconds."""

Account = tuple[str, str]
"""A key's id ("" = no key) and a UTC day, YYYY-MM-DD."""

State = Literal["settled", "worst", "released"]


class Claim(NamedTuple):  # as are the next three: made for every request, in a fifth of a dataclass's time
    """A request that asks for room before its call."""

    id: str
    account: Account
    request_id: str
    micro_usd: int
    tokens: int
    usd_limit: int | None
    token_limit: int | None
    per_minute: int | None
    at: float
    """Unix time, seconds."""


class Outcome(NamedTuple):
    """How a claim that was granted ended."""

    id: str
    state: State
    micro_usd: int
    tokens: int
    reason: str = ""


class Entry(NamedTuple):
    """A granted claim as it stands in the book."""

    id: str
    account: Account
    state: str
    """open, settled, worst or released."""
    micro_usd: int
    """Reserved while open, charged after."""
    tokens: int


@dataclass(slots=True)
class Total:
    """A key's day."""

    spent_micro_usd: int = 0
    spent_tokens: int = 0
    held_micro_usd: int = 0
    held_tokens: int = 0
    flagged_micro_usd: int = 0
    """The part of what was spent that is a worst case, its true bill unknown."""
    requests: int = 0
    """Granted ones."""

    def fields(self) -> tuple[int, int, int, int, int, int]:
        """The numbers, in the order of the constructor."""
        return (
            self.spent_micro_usd,
            self.spent_tokens,
            self.held_micro_usd,
            self.held_tokens,
            self.flagged_micro_usd,
            self.requests,
        )


class Grant(NamedTuple):
    """A claim's answer."""

    refusal: QuotaError | None = None
    rate: Rate | None = None
    usd_left: int | None = None
    """Micro-dollars left of the day after this claim; None = no bound."""
    tokens_left: int | None = None


@dataclass(slots=True)
class Page:
    """The part of the book that one commit reads and changes."""

    totals: dict[Account, Total]
    arrivals: dict[str, int]
    """Key id → state of its requests-per-minute bucket."""
    entries: dict[str, Entry]
    """Those that outcomes are about."""
    opened: list[Claim] = field(default_factory=list)
    closed: list[Outcome] = field(default_factory=list)

    def total(self, account: Account) -> Total:
        """The account's total, made where there is none yet."""
        return self.totals.setdefault(account, Total())


class Book(Protocol):
    """Where a ledger is kept. Calls block, and come from one thread at a time."""

    def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Grant]:
        """Writes all of it down in one transaction, or raises and writes nothing."""
        ...

    def reap(self) -> int:
        """Charges the open entries of processes that died at their worst case, flagged; returns how many."""
        ...

    def total(self, account: Account) -> Total:
        """One account."""
        ...

    def day(self, day: str) -> dict[str, Total]:
        """All accounts of a UTC day, by key id."""
        ...

    def close(self) -> None:
        """Gives this process's place up. Idempotent."""
        ...


def settle(page: Page, outcomes: Iterable[Outcome]) -> None:
    """Enters how calls ended.

    An entry charged at its worst case because its process was taken for dead is corrected when the bill comes after
    all; any other entry that is closed stays as it is.
    """
    for outcome in outcomes:
        entry = page.entries.get(outcome.id)
        if entry is None or entry.state not in ("open", "worst"):
            continue
        total = page.total(entry.account)
        if entry.state == "open":
            total.held_micro_usd -= entry.micro_usd
            total.held_tokens -= entry.tokens
        else:
            _charge(total, entry, -1)
        closed = Entry(entry.id, entry.account, outcome.state, outcome.micro_usd, outcome.tokens)
        _charge(total, closed, 1)
        page.entries[outcome.id] = closed
        page.closed.append(outcome)


def _charge(total: Total, entry: Entry, sign: int) -> None:
    total.spent_micro_usd += sign * entry.micro_usd
    total.spent_tokens += sign * entry.tokens
    if entry.state == "worst":
        total.flagged_micro_usd += sign * entry.micro_usd


def decide(page: Page, claims: Iterable[Claim]) -> list[Grant]:
    """Grants or refuses claims, in their order."""
    return [_decided(page, claim) for claim in claims]


def _decided(page: Page, claim: Claim) -> Grant:
    key, _ = claim.account
    rate = arrive(page.arrivals.get(key, 0), int(claim.at * 1e6), claim.per_minute) if claim.per_minute else None
    total = page.total(claim.account)
    refusal = _rate_refusal(rate) or _budget_refusal(claim, total)
    if refusal:
        return Grant(refusal, rate)
    if rate:
        page.arrivals[key] = rate.arrival
    total.held_micro_usd += claim.micro_usd
    total.held_tokens += claim.tokens
    total.requests += 1
    page.opened.append(claim)
    return Grant(
        None,
        rate,
        _left(claim.usd_limit, total.spent_micro_usd + total.held_micro_usd),
        _left(claim.token_limit, total.spent_tokens + total.held_tokens),
    )


def _left(limit: int | None, used: int) -> int | None:
    return None if limit is None else max(0, limit - used)


def _rate_refusal(rate: Rate | None) -> QuotaError | None:
    if rate is None or rate.granted:
        return None
    return QuotaError(
        f"this key may make {rate.limit} requests a minute; try again in {rate.retry_after:.1f} s",
        code="rate_limit_exceeded",
        retry_after=rate.retry_after,
    )


def _budget_refusal(claim: Claim, total: Total) -> QuotaError | None:
    usd = (claim.micro_usd, claim.usd_limit, total.spent_micro_usd, total.held_micro_usd)
    tokens = (claim.tokens, claim.token_limit, total.spent_tokens, total.held_tokens)
    return _refusal(claim, "USD", *usd) or _refusal(claim, "tokens", *tokens)


def _refusal(claim: Claim, unit: str, want: int, limit: int | None, spent: int, held: int) -> QuotaError | None:
    if limit is None or spent + held + want <= limit:
        return None
    wait = spent + want <= limit  # only what requests under way hold is in the way, and they give it back
    numbers = (want, limit, spent, held)
    told = [f"{number / 1e6:.6f}" if unit == "USD" else f"{number:,}" for number in numbers]
    return QuotaError(
        f"this key's budget of the day has no room: the request could take {told[0]} {unit} of {told[1]}, "
        f"{told[2]} are spent, {told[3]} held by requests under way",
        code="rate_limit_exceeded" if wait else "insufficient_quota",
        retry_after=1.0 if wait else DAY - claim.at % DAY,
    )


def accounts(claims: Iterable[Claim], entries: Mapping[str, Entry]) -> list[Account]:
    """The accounts that a commit touches, in one order for all processes, so that locks are taken in one order."""
    return sorted({claim.account for claim in claims} | {entry.account for entry in entries.values()})
