"""The ledger against the upstream's own count: under failures, cancelled streams, and kill -9 of a real server."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from archon.proxy.book import Total
from archon.proxy.keys import open_store
from archon.proxy.ledger import open_book
from archon.proxy.settings import Settings
from tests.proxy.processes import process
from tests.proxy.serving import Serving, fused, system, upstream
from tests.servers import CountingServer, Reply

BILL = 13
"""Micro-dollars of one answer: 7 prompt tokens at 1, 3 completion tokens at 2 dollars per million."""


class Upstream:
    """Answers, fails or breaks by turns, and keeps its own book."""

    def __init__(self, failing: bool) -> None:
        self.failing = failing
        self.billed = self.refused = self.broken = self.arrived = 0

    def __call__(self, body: dict[str, Any]) -> Reply:
        self.arrived += 1
        turn = self.arrived % 10 if self.failing else 5
        if turn == 0:
            self.refused += 1
            return Reply("overloaded", status=400)
        if turn == 1:
            self.broken += 1
            return Reply("broken", drop=True, latency=0.01)
        self.billed += 1
        return Reply("fine answer of a few words", latency=0.01 if turn == 2 else 0.0)


def totals(store: str) -> Total:
    """All days together: a test may run over midnight."""
    open_book(store).close()
    with closing(sqlite3.connect(store)) as db:
        columns = "spent_micro_usd, spent_tokens, held_micro_usd, held_tokens, flagged_micro_usd, requests"
        sums = ", ".join(f"coalesce(sum({name}), 0)" for name in columns.split(", "))
        return Total(*db.execute(f"SELECT {sums} FROM totals").fetchone())


def body(model: str, stream: bool, number: int = 0) -> dict[str, Any]:
    asked = [{"role": "user", "content": f"question {number}"}]
    return {"model": model, "messages": asked, "stream": stream, "max_tokens": 50}


@pytest.mark.parametrize("model", ["archon/team", "m"])
async def test_what_is_charged_is_what_the_upstream_charged(tmp_path: Path, model: str) -> None:
    store, own = str(tmp_path / "proxy.db"), Upstream(failing=True)
    key, _ = open_store(store).create("ann", usd_per_day=10**12)
    statuses: list[int] = []
    with CountingServer(own) as counting:
        file = system(tmp_path, "team", fused(), [upstream(counting.endpoint)])
        with Serving(Settings(files=(file,), store=store)) as server:
            async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
                turn = asyncio.Semaphore(24)

                async def one(number: int) -> None:
                    async with (
                        turn,
                        session.post(
                            f"{server.url}/chat/completions", json=body(model, number % 2 == 0, number)
                        ) as response,
                    ):
                        statuses.append(response.status)
                        await response.read()

                await asyncio.gather(*(one(number) for number in range(150)))
    total = totals(store)
    assert len(statuses) == 150
    assert set(statuses) <= {200, 400, 502}
    assert total.held_micro_usd == 0
    assert total.spent_micro_usd - total.flagged_micro_usd == BILL * own.billed
    assert (total.flagged_micro_usd > 0) == (own.broken > 0)
    with closing(sqlite3.connect(store)) as db:
        flagged, worst = db.execute("SELECT count(*), sum(micro_usd) FROM entries WHERE state = 'worst'").fetchone()
        assert db.execute("SELECT count(*) FROM entries WHERE state <> 'worst'").fetchone() == (0,)
    assert (flagged, worst) == (own.broken, total.flagged_micro_usd)


async def test_a_stream_that_its_client_leaves_is_charged_and_nothing_stays_held(tmp_path: Path) -> None:
    store = str(tmp_path / "proxy.db")
    with CountingServer(lambda _: Reply("a long answer of many words " * 50, between=0.02)) as counting:
        file = system(tmp_path, "team", fused(samples=1), [upstream(counting.endpoint)])
        with Serving(Settings(files=(file,), store=store)) as server:
            async with aiohttp.ClientSession() as session:
                for _ in range(3):
                    async with session.post(f"{server.url}/chat/completions", json=body("m", True)) as response:
                        await response.content.readline()
                        response.close()
            until = asyncio.get_running_loop().time() + 90
            while counting.under_way and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert counting.left == 3
    total = totals(store)
    assert total.held_micro_usd == 0
    # The upstream never told its usage, so each is charged its worst case: 50 completion tokens at 2, and the prompt.
    assert total.flagged_micro_usd == total.spent_micro_usd
    assert total.flagged_micro_usd >= 3 * 50 * 2


@pytest.mark.parametrize("workers", [1, 2])
async def test_kill_9_of_a_server_under_load_loses_nothing_and_doubles_nothing(tmp_path: Path, workers: int) -> None:
    store, own = str(tmp_path / "proxy.db"), Upstream(failing=False)
    key, record = open_store(store).create("ann", usd_per_day=10**12)
    with CountingServer(own, latency=0.005) as counting:
        file = system(tmp_path, "team", fused(), [upstream(counting.endpoint)])
        with process(file, store, workers) as (running, port):
            async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
                answered = await _load(session, port, running, own)
        made = own.billed
        assert answered > 0
        before = totals(store)  # as the killed server left it: every call that was made is held or charged
        assert before.held_micro_usd > 0 or before.spent_micro_usd >= BILL * made
        with process(file, store, 1) as (again, port):
            signed = {"Authorization": f"Bearer {key}"}
            async with aiohttp.request("GET", f"http://127.0.0.1:{port}/v1/models", headers=signed) as response:
                assert response.status == 200, "the key is still known"
            again.send_signal(signal.SIGTERM)
            again.wait(120)
    total = totals(store)
    with closing(sqlite3.connect(store)) as db:
        flagged = db.execute("SELECT count(*) FROM entries WHERE state = 'worst'").fetchone()[0]
    bills = (total.spent_micro_usd - total.flagged_micro_usd) / BILL
    assert total.held_micro_usd == 0
    assert bills == int(bills)
    # A reservation whose call had not left yet is charged as well: at most 3 for each of the 16 clients.
    assert made <= bills + flagged <= made + 16 * 3
    assert total.requests >= bills + flagged
    assert record.usd_per_day == 10**12


async def _load(session: aiohttp.ClientSession, port: int, running: subprocess.Popen[str], own: Upstream) -> int:
    """Sixteen clients at once until the server is killed, in the middle of it all; how many requests were answered."""
    answered = 0

    async def client(number: int) -> None:
        nonlocal answered
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        while True:
            try:
                model = "m" if number % 2 else "archon/team"
                async with session.post(url, json=body(model, number % 4 < 2, number)) as response:
                    await response.read()
                    answered += response.status == 200
            except aiohttp.ClientError:
                return

    clients = [asyncio.create_task(client(number)) for number in range(16)]
    async with asyncio.timeout(120):
        while own.billed < 200:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    os.killpg(running.pid, signal.SIGKILL)
    await asyncio.wait_for(asyncio.gather(*clients), 60)
    return answered
