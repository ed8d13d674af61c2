"""The ledger: what every key may still spend today, held before a call and settled after it.

Integer micro-dollars and tokens. A request reserves its worst case and is refused where the key's day has no room for
it; when its bill is known it settles for that, and where the bill stays unknown (a cancelled stream, a killed process)
it is charged its worst case, flagged. `reserve` returns once the reservation is on file, so a process that is killed in
the next instant has lost nothing.

The file is written by one thread that gathers what has come in meanwhile (group commit): the event loop never waits for
it, and a hundred requests share one transaction.

    hold = await ledger.reserve(key.id, key, 1_200, 900, request_id)
    try:
        answer = await call()
    except BaseException:
        hold.settle_worst("cancelled")       # or hold.release() where the call certainly cost nothing
        raise
    hold.settle(micro_usd, tokens)
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

from archon.proxy.book import DAY, Book, Claim, Grant, Outcome, State, Total
from archon.proxy.keys import is_postgres, sqlite_path
from archon.proxy.ledger_writer import Writer


class Limits(Protocol):
    """What the ledger needs to know of a key (`archon.proxy.keys.KeyRecord` has it)."""

    @property
    def usd_per_day(self) -> int | None: ...
    @property
    def tokens_per_day(self) -> int | None: ...
    @property
    def requests_per_minute(self) -> int | None: ...


class Hold:
    """A reservation. Exactly one of `settle`, `settle_worst` and `release` counts, the first; none of them waits."""

    __slots__ = ("_open", "_writer", "grant", "id", "micro_usd", "tokens")

    def __init__(self, writer: Writer, claim: Claim, grant: Grant) -> None:
        self._writer, self._open = writer, True
        self.id, self.micro_usd, self.tokens = claim.id, claim.micro_usd, claim.tokens
        self.grant = grant
        """What was left of the key's day and minute when this was granted."""

    def settle(self, micro_usd: int, tokens: int) -> None:
        """Charges the bill, also where it is larger than the reservation."""
        self._close("settled", sane(micro_usd), sane(tokens))

    def settle_worst(self, reason: str) -> None:
        """Charges the worst case, flagged: the call may have cost as much and nobody will say."""
        self._close("worst", self.micro_usd, self.tokens, reason)

    def release(self) -> None:
        """Charges nothing: the call certainly cost nothing."""
        self._close("released", 0, 0)

    def _close(self, state: State, micro_usd: int, tokens: int, reason: str = "") -> None:
        if self._open:
            self._open = False
            self._writer.put(Outcome(self.id, state, micro_usd, tokens, reason))


class Ledger:
    """One a process; processes may share one database.

    Args:
        book: where it is kept (`open_ledger` makes one from a URL).
        clock: Unix time in seconds.
    """

    def __init__(self, book: Book, *, clock: Callable[[], float] = time.time) -> None:
        self._writer = Writer(book)
        self._clock = clock
        self._count = itertools.count(1)
        self._name = getattr(book, "worker", "") or "w"
        self._book = book

    async def reserve(
        self, key_id: str | None, limits: Limits | None, micro_usd: int, tokens: int, request_id: str
    ) -> Hold:
        """Room for a request, on file when this returns.

        Args:
            key_id: None = open service; nothing bounds it, its use is written down all the same.
            micro_usd, tokens: the most that the request can cost.

        Raises:
            QuotaError: the key's day or minute has no room; nothing was called.
            LedgerError: the ledger cannot be written.
        """
        now = self._clock()
        claim = Claim(
            f"{self._name}-{next(self._count)}",
            (key_id or "", day_of(now)),
            request_id,
            sane(micro_usd),
            sane(tokens),
            limits.usd_per_day if limits else None,
            limits.tokens_per_day if limits else None,
            limits.requests_per_minute if limits else None,
            now,
        )
        grant = await self._writer.claim(claim)
        if grant.refusal:
            raise grant.refusal
        return Hold(self._writer, claim, grant)

    async def spent_today(self, key_id: str | None) -> Total:
        """The key's day so far, everything settled before this call included."""
        account = (key_id or "", day_of(self._clock()))
        return await self._writer.ask(lambda: self._book.total(account))

    async def flush(self) -> None:
        """Returns when everything settled so far is on file."""
        await self._writer.ask(lambda: None)

    async def aclose(self) -> None:
        """Writes what is outstanding and closes the book. Idempotent."""
        await self._writer.aclose()


def sane(amount: int) -> int:
    """An amount that a database holds exactly, whatever an upstream reported: 0 to 2^53 - 1."""
    return max(0, min(amount, 2**53 - 1))


def day_of(at: float) -> str:
    """The UTC day of a Unix time, YYYY-MM-DD."""
    return _day(int(at // DAY))


@lru_cache(maxsize=4)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * DAY, UTC).strftime("%Y-%m-%d")


def open_book(url: str) -> Book:
    """The book at a SQLite path or postgresql:// URL. Raises as `archon.proxy.keys.open_store`."""
    if is_postgres(url):
        from archon.proxy.book_postgres import PostgresBook

        return PostgresBook(url)
    from archon.proxy.book_sqlite import SqliteBook

    return SqliteBook(sqlite_path(url))


def open_ledger(url: str) -> Ledger:
    """The ledger at a SQLite path or postgresql:// URL; open holds of dead processes are charged now."""
    book = open_book(url)
    book.reap()
    return Ledger(book)


def totals_of(url: str, day: str) -> Mapping[str, Total]:
    """Every key's day, by key id ("" = no key); empty where nothing was written down yet."""
    book = open_book(url)
    try:
        return book.day(day)
    finally:
        book.close()
