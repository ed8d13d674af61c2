"""The ledger's thread on the event loops that servers run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
import uvloop

from archon.proxy import ledger_writer
from archon.proxy.book import Account, Claim, Grant, Outcome, Total
from archon.proxy.ledger import Ledger, open_book


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_claim_does_not_wait_for_outcomes_that_linger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    """Outcomes may linger for an hour here; the claim behind them takes them along at once."""
    monkeypatch.setattr(ledger_writer, "LINGER", 3600.0)

    async def inner() -> None:
        ledger = Ledger(open_book(str(tmp_path / "proxy.db")))
        first = await ledger.reserve(None, None, 10, 10, "req_1")
        await asyncio.sleep(0)
        first.settle(7, 7)
        await asyncio.sleep(0.05)
        async with asyncio.timeout(20):
            second = await ledger.reserve(None, None, 10, 10, "req_2")
            assert (await ledger.spent_today(None)).spent_micro_usd == 7
        second.release()
        await ledger.aclose()

    run(inner())


def test_outcomes_that_linger_are_written_when_the_ledger_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_writer, "LINGER", 3600.0)

    async def inner() -> None:
        ledger = Ledger(open_book(str(tmp_path / "proxy.db")))
        hold = await ledger.reserve(None, None, 10, 10, "req_1")
        hold.settle(7, 7)
        await ledger.aclose()
        again = Ledger(open_book(str(tmp_path / "proxy.db")))
        assert (await again.spent_today(None)).spent_micro_usd == 7
        await again.aclose()

    asyncio.run(inner())


class CountingBook:
    """Grants everything; notes how many claims each commit brought."""

    def __init__(self) -> None:
        self.commits: list[int] = []
        self.outcomes: list[Outcome] = []

    def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Grant]:
        self.commits.append(len(claims))
        self.outcomes += outcomes
        return [Grant() for _ in claims]

    def reap(self) -> int:
        return 0

    def total(self, account: Account) -> Total:
        return Total()

    def day(self, day: str) -> dict[str, Total]:
        return {}

    def close(self) -> None:
        pass


async def test_claims_behind_a_thick_batch_share_the_next_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pace is an hour here, so what comes in three turns of the loop is still gathered when the ledger closes."""
    monkeypatch.setattr(ledger_writer, "PACE", 3600.0)
    book = CountingBook()
    ledger = Ledger(book)
    await asyncio.gather(*(ledger.reserve(None, None, 1, 1, "r") for _ in range(6)))
    later = []
    for _ in range(3):
        later.append(asyncio.create_task(ledger.reserve(None, None, 1, 1, "r")))
        await asyncio.sleep(0.01)
    assert not any(task.done() for task in later)
    await ledger.aclose()
    await asyncio.gather(*later)
    assert book.commits == [6, 3]


async def test_a_lone_claim_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_writer, "PACE", 3600.0)
    ledger = Ledger(CountingBook())
    async with asyncio.timeout(60):
        for _ in range(5):
            (await ledger.reserve(None, None, 1, 1, "r")).settle(1, 1)
    await ledger.aclose()


async def test_a_request_cancelled_while_it_waits_gives_its_reservation_back() -> None:
    book = CountingBook()
    ledger = Ledger(book)
    waiting = asyncio.create_task(ledger.reserve(None, None, 1, 1, "r"))
    await asyncio.sleep(0)  # its claim is with the ledger now
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await ledger.flush()  # behind the claim
    await ledger.flush()  # behind what the claim's answer led to
    assert [(outcome.state, outcome.micro_usd) for outcome in book.outcomes] == [("released", 0)]
    await ledger.aclose()
