"""The ledger's thread on the event loops that servers run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from archon.proxy import ledger_writer
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
