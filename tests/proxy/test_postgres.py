"""Keys and ledger in a real PostgreSQL server, started for this file. The ledger's properties are those of SQLite."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from archon.errors import ConfigError
from archon.proxy.book import Total
from archon.proxy.book_postgres import PostgresBook
from archon.proxy.keys import KeyRecord, open_store
from archon.proxy.ledger import Hold, Ledger, open_ledger, totals_of
from archon.proxy.quota import LedgerError, QuotaError

pytest.importorskip("psycopg", reason="psycopg is not installed")

NOON, TODAY = 1_767_355_200.0, "2026-01-02"


def _binaries() -> Path | None:
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    found += [Path(which).parent for which in [shutil.which("initdb")] if which]
    return next((each for each in found if (each / "initdb").exists() and (each / "postgres").exists()), None)


BINARIES = _binaries()
pytestmark = pytest.mark.skipif(BINARIES is None, reason="no PostgreSQL server is installed (Debian: postgresql)")


def _user() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    assert BINARIES is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="archon-pg-"))
    user, environ = _user(), {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    if user:
        shutil.chown(folder, user)
    data = folder / "data"
    made: list[str | Path] = [BINARIES / "initdb", "-D", data, "-A", "trust", "-U", "archon", "--no-sync", "-E", "UTF8"]
    subprocess.run(made, check=True, capture_output=True, user=user, env=environ, cwd=folder)
    options: list[str | Path] = ["-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1", "-c", "fsync=off"]
    process = subprocess.Popen(
        [BINARIES / "postgres", *options], user=user, env=environ, cwd=folder, stderr=subprocess.DEVNULL
    )
    try:
        _wait(port, process)
        yield f"postgresql://archon:PASSWORD@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)  # fast shutdown
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    import psycopg

    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, "the server did not start"
        try:
            psycopg.connect(f"postgresql://archon@127.0.0.1:{port}/postgres", connect_timeout=5).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.05)
    raise AssertionError("the server did not start")


@pytest.fixture
def url(server: str) -> str:
    import psycopg

    with psycopg.connect(server, autocommit=True) as db:
        for table in ("keys", "entries", "totals", "rates"):
            db.execute(f"DROP TABLE IF EXISTS archon_{table}".encode())
    return server


def test_keys_are_made_found_and_revoked(url: str) -> None:
    store = open_store(url)
    secret, record = store.create("ann", usd_per_day=5, requests_per_minute=3)
    assert store.find(secret) == record
    store.revoke(record.id)
    assert store.find(secret) is None
    assert [each.id for each in store.list()] == [record.id]
    with pytest.raises(ConfigError, match="no key"):
        store.revoke("key_nope")
    store.close()


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    with pytest.raises(ConfigError, match="cannot be reached") as told:
        open_store("postgresql://ann:PASSWORD@127.0.0.1:1/db")
    assert "PASSWORD" not in str(told.value)


async def test_budgets_hold_over_two_processes_ledgers(url: str) -> None:
    books = [Ledger(PostgresBook(url), clock=lambda: NOON) for _ in range(2)]
    key = KeyRecord("key_1", "ann", 370, None, 500)
    asked = await asyncio.gather(
        *(books[i % 2].reserve("key_1", key, 10, 1, "r") for i in range(80)), return_exceptions=True
    )
    holds = [each for each in asked if isinstance(each, Hold)]
    assert len(holds) == 37
    assert sum(isinstance(each, QuotaError) for each in asked) == 43
    holds[0].settle(7, 1)
    holds[1].settle_worst("cancelled")
    holds[2].release()
    for book in books:
        await book.aclose()
    total = totals_of(url, TODAY)["key_1"]
    assert (total.spent_micro_usd, total.flagged_micro_usd, total.held_micro_usd) == (17, 10, 340)


async def test_requests_per_minute_are_shared(url: str) -> None:
    books = [Ledger(PostgresBook(url), clock=lambda: NOON) for _ in range(2)]
    key = KeyRecord("key_1", "ann", None, None, 7)
    asked = await asyncio.gather(
        *(books[i % 2].reserve("key_1", key, 1, 1, "r") for i in range(20)), return_exceptions=True
    )
    assert sum(isinstance(each, Hold) for each in asked) == 7
    for book in books:
        await book.aclose()


_KILLED = """
import asyncio, os, signal, sys
from archon.proxy.ledger import Ledger
from archon.proxy.book_postgres import PostgresBook
async def main():
    ledger = Ledger(PostgresBook(sys.argv[1]), clock=lambda: 1_767_355_200.0)
    holds = [await ledger.reserve("key_1", None, 10, 1, "r") for _ in range(5)]
    holds[0].settle(7, 1)
    await ledger.flush()
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


async def test_a_killed_process_is_charged_at_its_worst_case_and_a_living_one_is_not(url: str) -> None:
    alive = Ledger(PostgresBook(url), clock=lambda: NOON)
    hold = await alive.reserve("key_1", None, 100, 1, "r")
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    killed = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", _KILLED, url], env=environ)
    assert killed.returncode == -signal.SIGKILL
    other = open_ledger(url)  # reaps
    assert totals_of(url, TODAY)["key_1"] == Total(47, 5, 100, 1, 40, 6)  # 7 billed + 4 × 10 flagged; 100 still held
    hold.settle(60, 1)
    await alive.flush()
    assert totals_of(url, TODAY)["key_1"] == Total(107, 6, 0, 0, 40, 6)
    await other.aclose()
    await alive.aclose()


async def test_a_lost_connection_refuses_requests_and_loses_no_bill(url: str) -> None:
    import psycopg

    book = PostgresBook(url)
    ledger = Ledger(book, clock=lambda: NOON)
    hold = await ledger.reserve("key_1", None, 100, 1, "r")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with pytest.raises(LedgerError) as told:
        await ledger.reserve("key_1", None, 50, 1, "r")
    assert "PASSWORD" not in str(told.value)
    hold.settle(60, 1)
    (await ledger.reserve("key_1", None, 1, 1, "r")).release()  # connected again
    assert await ledger.spent_today("key_1") == Total(60, 1, 0, 0, 0, 2)
    await ledger.aclose()
