"""Budgets hold: under concurrency, cancellation, failures of the file, several processes and kill -9."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from archon.proxy.book import Claim, Grant, Outcome, Total
from archon.proxy.book_sqlite import SqliteBook
from archon.proxy.keys import KeyRecord
from archon.proxy.ledger import Hold, Ledger, open_ledger, totals_of
from archon.proxy.quota import LedgerError, QuotaError

NOON = 1_767_355_200.0  # 2026-01-02 12:00 UTC
TODAY = "2026-01-02"


def key(usd: int | None = None, tokens: int | None = None, rpm: int | None = None) -> KeyRecord:
    return KeyRecord("key_1", "ann", usd, tokens, rpm)


def ledger(tmp_path: Path) -> Ledger:
    return Ledger(SqliteBook(tmp_path / "proxy.db"), clock=lambda: NOON)


async def reserved(book: Ledger, limits: KeyRecord, micro_usd: int, tokens: int = 0) -> Hold:
    return await book.reserve("key_1", limits, micro_usd, tokens, "req_1")


async def test_what_is_settled_is_what_is_spent(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    first, second, third = [await reserved(book, key(), 100, 50) for _ in range(3)]
    assert (await book.spent_today("key_1")).held_micro_usd == 300
    first.settle(40, 20)
    second.settle_worst("cancelled")
    third.release()
    # 40 reported + 100 at the worst case; 20 + 50 tokens.
    assert await book.spent_today("key_1") == Total(140, 70, 0, 0, 100, 3)
    await book.aclose()


async def test_only_the_first_end_of_a_hold_counts(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    hold = await reserved(book, key(), 100)
    hold.settle(40, 20)
    hold.settle_worst("late")
    hold.release()
    assert (await book.spent_today("key_1")).spent_micro_usd == 40
    await book.aclose()


async def test_a_bill_above_the_worst_case_is_charged_all_the_same(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    (await reserved(book, key(usd=100), 100)).settle(250, 10)
    assert (await book.spent_today("key_1")).spent_micro_usd == 250
    with pytest.raises(QuotaError, match="no room"):
        await reserved(book, key(usd=100), 1)
    await book.aclose()


async def test_amounts_no_database_could_hold_are_capped_and_negative_ones_are_none(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    (await reserved(book, key(), 5)).settle(-7, 10**30)
    total = await book.spent_today("key_1")
    assert (total.spent_micro_usd, total.spent_tokens) == (0, 2**53 - 1)
    await book.aclose()


async def test_a_hundred_at_once_get_exactly_what_the_budget_has_room_for(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    asked = await asyncio.gather(*(reserved(book, key(usd=370), 10) for _ in range(100)), return_exceptions=True)
    assert sum(isinstance(each, Hold) for each in asked) == 37
    assert sum(isinstance(each, QuotaError) for each in asked) == 63
    await book.aclose()


async def test_keys_do_not_share_budgets_and_no_key_has_none(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    await book.reserve("key_1", key(usd=10), 10, 0, "r")
    await book.reserve("key_2", key(usd=10), 10, 0, "r")
    (await book.reserve(None, None, 10**9, 10**9, "r")).settle(5, 6)
    assert await book.spent_today(None) == Total(5, 6, 0, 0, 0, 1)
    await book.aclose()


async def test_a_request_cancelled_while_it_waits_holds_nothing(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    tasks = [asyncio.create_task(reserved(book, key(usd=1000), 10)) for _ in range(50)]
    await asyncio.sleep(0)  # all are waiting for the thread
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    for each in ended:
        if isinstance(each, Hold):
            each.release()
    await book.flush()  # the answers have come; what they granted is given back after them
    assert (await book.spent_today("key_1")).held_micro_usd == 0
    await book.aclose()


async def test_the_day_of_the_reservation_pays(tmp_path: Path) -> None:
    now = NOON
    book = Ledger(SqliteBook(tmp_path / "proxy.db"), clock=lambda: now)
    hold = await reserved(book, key(usd=100), 100)
    now += 86_400.0
    hold.settle(60, 0)
    await reserved(book, key(usd=100), 100)  # a new day, all of it
    await book.aclose()
    assert totals_of(str(tmp_path / "proxy.db"), TODAY)["key_1"].spent_micro_usd == 60


async def test_requests_per_minute_hold_over_two_ledgers_of_one_file(tmp_path: Path) -> None:
    books = [ledger(tmp_path), ledger(tmp_path)]
    asked = await asyncio.gather(
        *(reserved(books[index % 2], key(rpm=7), 1) for index in range(20)), return_exceptions=True
    )
    assert sum(isinstance(each, Hold) for each in asked) == 7
    refused = next(each for each in asked if isinstance(each, QuotaError))
    assert refused.code == "rate_limit_exceeded"
    assert 0 < refused.retry_after <= 60 / 7 + 0.01
    for book in books:
        await book.aclose()


class Flaky:
    """A book whose file cannot be written for a while."""

    def __init__(self, inner: SqliteBook) -> None:
        self.inner, self.broken = inner, False

    def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Grant]:
        if self.broken:
            raise sqlite3.OperationalError("disk full")
        return self.inner.commit(claims, outcomes)

    def reap(self) -> int:
        return self.inner.reap()

    def total(self, account: tuple[str, str]) -> Total:
        return self.inner.total(account)

    def day(self, day: str) -> dict[str, Total]:
        return self.inner.day(day)

    def close(self) -> None:
        self.inner.close()


async def test_where_the_file_cannot_be_written_nothing_is_granted_and_no_bill_is_lost(tmp_path: Path) -> None:
    flaky = Flaky(SqliteBook(tmp_path / "proxy.db"))
    book = Ledger(flaky, clock=lambda: NOON)
    hold = await reserved(book, key(), 100)
    flaky.broken = True
    hold.settle(40, 4)
    with pytest.raises(LedgerError, match="disk full"):
        await reserved(book, key(), 100)
    with pytest.raises(LedgerError):
        await book.flush()
    flaky.broken = False
    (await reserved(book, key(), 1)).release()
    assert (await book.spent_today("key_1")).spent_micro_usd == 40
    await book.aclose()


async def test_a_closed_ledger_grants_nothing(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    await book.aclose()
    await book.aclose()
    with pytest.raises(LedgerError, match="closed"):
        await reserved(book, key(), 1)


_WORKER = """
import asyncio, os, sys
from archon.proxy.keys import KeyRecord
from archon.proxy.book_sqlite import SqliteBook
from archon.proxy.ledger import Ledger
from archon.proxy.quota import QuotaError
from pathlib import Path
url, upstream, limit, tasks, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
key = KeyRecord("key_1", "ann", limit or None)
log = os.open(upstream, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
async def one(ledger, spend):
    for _ in range(rounds):
        try:
            hold = await ledger.reserve("key_1", key, 10, 1, "r")
        except QuotaError:
            continue
        os.write(log, b"7\\n")          # the upstream's own book: this call costs 7
        await asyncio.sleep(0)
        if spend:
            hold.settle(7, 1)
async def main():
    ledger = Ledger(SqliteBook(Path(url)), clock=lambda: 1_767_355_200.0)
    print("ready", flush=True)
    await asyncio.gather(*(one(ledger, True) for _ in range(tasks)))
    await ledger.aclose()
asyncio.run(main())
"""


@contextmanager
def worker(tmp_path: Path, limit: int, tasks: int, rounds: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that makes calls; gone, with its pipe closed, when the test is done with it or fails."""
    code = [sys.executable, "-c", _WORKER, str(tmp_path / "proxy.db"), str(tmp_path / "upstream")]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [*code, str(limit), str(tasks), str(rounds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ) as running:
        try:
            yield running
        finally:
            running.kill()


def calls(tmp_path: Path) -> int:
    with suppress(FileNotFoundError):
        return (tmp_path / "upstream").read_bytes().count(b"\n")
    return 0


def test_three_processes_never_spend_more_than_the_one_budget(tmp_path: Path) -> None:
    # 1,000 micro-dollars: a call holds 10 and costs 7. The last grant needs spent + 10 ≤ 1,000, so 142 calls
    # (spent 994 > 990) are the most; 3 × 8 × 30 = 720 are asked for.
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(tmp_path, 1000, 8, 30)) for _ in range(3)]
        for each in workers:
            each.communicate(timeout=120)
        assert [each.returncode for each in workers] == [0, 0, 0]
    total = totals_of(str(tmp_path / "proxy.db"), TODAY)["key_1"]
    assert total.spent_micro_usd == 7 * calls(tmp_path) == 994
    assert (total.held_micro_usd, total.flagged_micro_usd) == (0, 0)


def test_kill_9_loses_no_call_and_charges_none_twice(tmp_path: Path) -> None:
    tasks = 16
    with worker(tmp_path, 0, tasks, 10**6) as killed:
        assert killed.stdout is not None
        killed.stdout.readline()
        until = time.monotonic() + 120
        while calls(tmp_path) < 300 and killed.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
        killed.communicate(timeout=60)
    made = calls(tmp_path)
    assert made >= 300

    first = _after_restart(tmp_path)
    assert first.held_micro_usd == 0
    # Every call is in the book at its bill (7) or, where the bill had not been written, at its worst case (10).
    bills = (first.spent_micro_usd - first.flagged_micro_usd) // 7
    flagged = first.flagged_micro_usd // 10
    assert bills * 7 + flagged * 10 == first.spent_micro_usd
    assert bills + flagged >= made, "a call was lost"
    assert bills + flagged <= made + tasks, (
        "a call was charged twice"
    )  # a reservation may have had no time for its call
    assert _after_restart(tmp_path) == first, "a second restart changes nothing"


def _after_restart(tmp_path: Path) -> Total:
    async def restarted() -> None:
        await open_ledger(str(tmp_path / "proxy.db")).aclose()

    asyncio.run(restarted())
    return totals_of(str(tmp_path / "proxy.db"), TODAY)["key_1"]


async def test_a_living_process_is_not_taken_for_dead(tmp_path: Path) -> None:
    alive = ledger(tmp_path)
    hold = await reserved(alive, key(), 10)
    other = SqliteBook(tmp_path / "proxy.db")
    assert other.reap() == 0
    hold.settle(3, 0)
    assert (await alive.spent_today("key_1")).spent_micro_usd == 3
    other.close()
    await alive.aclose()


async def test_a_sibling_charges_what_a_dead_worker_left_open(tmp_path: Path) -> None:
    dead = SqliteBook(tmp_path / "proxy.db")
    dead.commit([Claim("d-1", ("key_1", TODAY), "r", 10, 2, None, None, None, NOON)], [])
    sibling = SqliteBook(tmp_path / "proxy.db")
    dead.close()
    assert sibling.reap() == 1
    assert sibling.total(("key_1", TODAY)) == Total(10, 2, 0, 0, 10, 1)
    assert sibling.reap() == 0
    sibling.close()


async def test_settled_requests_leave_no_rows_behind(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    for _ in range(20):
        (await reserved(book, key(), 10)).settle(5, 5)
    await book.aclose()
    with sqlite3.connect(tmp_path / "proxy.db") as db:
        assert db.execute("SELECT count(*) FROM entries").fetchone() == (0,)
    db.close()
    assert list((tmp_path / "proxy.db.workers").iterdir()) == []


class Forgetful(Flaky):
    """A book that writes a commit and loses the word of it."""

    def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Grant]:
        grants = self.inner.commit(claims, outcomes)
        if self.broken:
            self.broken = False
            raise sqlite3.OperationalError("connection lost")
        return grants


async def test_a_reservation_whose_confirmation_was_lost_is_given_back(tmp_path: Path) -> None:
    forgetful = Forgetful(SqliteBook(tmp_path / "proxy.db"))
    book = Ledger(forgetful, clock=lambda: NOON)
    forgetful.broken = True
    with pytest.raises(LedgerError):
        await reserved(book, key(), 100)
    (await reserved(book, key(), 1)).release()
    assert await book.spent_today("key_1") == Total(0, 0, 0, 0, 0, 2)
    await book.aclose()
