"""The cache's file: durable, shared, and honest when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from archon.clients.store import CacheStore
from archon.errors import ConfigError


async def test_what_was_put_is_there_in_the_next_process_and_the_first_stays(tmp_path: Path) -> None:
    store = CacheStore(tmp_path / "new folder" / "c.sqlite")
    await store.put("k", "one")
    await store.put("k", "two")
    assert store.get("k") == "one"
    await store.aclose()
    await store.aclose()
    again = CacheStore(store.path)
    assert (again.get("k"), again.get("other"), len(again)) == ("one", None, 1)
    assert again.secret == store.secret
    await again.aclose()


async def test_each_owner_of_a_shared_file_counts_what_it_was_the_first_to_keep(tmp_path: Path) -> None:
    one, other = (CacheStore(tmp_path / "c.sqlite", owner) for owner in ("one", "other"))
    await asyncio.gather(*(one.put(key, "x") for key in "abc"))
    await asyncio.gather(*(other.put(key, "x") for key in "cd"))
    await one.put("e", "x")
    again = CacheStore(tmp_path / "c.sqlite", "one")
    assert (one.made(), other.made(), again.made(), len(again)) == (4, 1, 4, 5)
    for store in (one, other, again):
        await store.aclose()


async def test_a_file_of_the_first_form_gains_the_owners_table(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    await CacheStore(path).aclose()
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.execute("drop table owners")
    store = CacheStore(path, "one")
    await store.put("k", "x")
    assert store.made() == 1
    await store.aclose()


async def test_answers_that_wait_together_are_committed_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CacheStore(tmp_path / "c.sqlite")
    batches: list[int] = []
    commit = type(store._writer)._commit

    def counted(self: object, connection: sqlite3.Connection, batch: list[object]) -> None:
        batches.append(len(batch))
        commit(self, connection, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(type(store._writer), "_commit", counted)
    await asyncio.gather(*(store.put(str(number), "x") for number in range(300)))
    assert sum(batches) == 300
    assert len(batches) < 300
    assert len(store) == 300
    await store.aclose()


def test_an_answer_outlives_sigkill_the_moment_put_returns(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import asyncio, sys
        from archon.clients.store import CacheStore
        async def main():
            store = CacheStore(sys.argv[1])
            for number in range(10**6):
                await store.put(str(number), "x" * 1000)
                print(number, flush=True)
        asyncio.run(main())
        """
    )
    path = tmp_path / "c.sqlite"
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(50)]
        os.kill(process.pid, signal.SIGKILL)
        told += [int(line) for line in process.stdout.read().split()]
    store = CacheStore(path)
    assert all(store.get(str(number)) == "x" * 1000 for number in told)
    store._reader.close()


def test_several_processes_write_one_file(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import asyncio, sys
        from archon.clients.store import CacheStore
        async def main():
            store = CacheStore(sys.argv[1])
            await asyncio.gather(*(store.put(f"{sys.argv[2]}-{n}", "x") for n in range(200)))
            assert store.problem is None, store.problem
            print(store.secret.hex())
            await store.aclose()
        asyncio.run(main())
        """
    )
    path = str(tmp_path / "c.sqlite")
    command = [sys.executable, "-c", script, path]
    processes = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in "abc"]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(set(outputs)) == 1  # who came first made the secret; all have it
    store = CacheStore(path)
    assert len(store) == 600
    asyncio.run(store.aclose())


@pytest.mark.parametrize("content", [b"this is no database, whatever its name " * 100, b"SQLite format 3\0" * 300])
def test_a_file_that_is_no_cache_is_one_line_at_the_start(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.sqlite"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"cache .*c\.sqlite: cannot be used"):
        CacheStore(path)
    assert path.read_bytes() == content  # and it is left as it was


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("pragma user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match="format 99"):
        CacheStore(path)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        CacheStore(tmp_path / "file" / "c.sqlite")


async def test_a_locked_file_costs_the_cache_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("archon.clients.store._WRITE_PATIENCE", 0.05)
    store = CacheStore(tmp_path / "c.sqlite")
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("begin immediate")
    with caplog.at_level(logging.WARNING, "archon.cache"):
        await store.put("a", "1")
        await store.put("b", "2")
        await asyncio.sleep(0.2)
    problem: str | None = store.problem
    assert problem is not None
    assert len(caplog.records) == 1  # said once, not once a call
    assert "locked" in caplog.text
    other.execute("rollback")
    other.close()
    await store.put("c", "3")
    for _ in range(100):
        if store.problem is None:
            break
        await asyncio.sleep(0.02)
    assert store.problem is None, "it works again, and says so no more"
    assert store.get("c") == "3"
    await store.aclose()


async def test_a_full_disk_costs_the_cache_and_not_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CacheStore(tmp_path / "c.sqlite")
    await store.put("a", "1")
    connect = store.connect

    def small() -> sqlite3.Connection:
        connection = connect()
        connection.execute("pragma max_page_count = 8")  # what SQLite itself calls a full disk
        return connection

    store.connect = small  # type: ignore[method-assign]
    await asyncio.to_thread(store._writer.close)
    await store.put("b", "x" * 100_000)
    assert "full" in (store.problem or "")
    assert "answers are not kept" in caplog.text
    assert store.get("a") == "1"
    await store.aclose()


async def test_a_damaged_file_costs_the_cache_and_not_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CacheStore(tmp_path / "c.sqlite")
    for number in range(200):
        await store.put(f"{number:064}", "x" * 500)
    await store.aclose()
    whole = store.path.read_bytes()
    kept = 5 * 4096  # schema, and the roots of both tables and their indices; all that is under them is lost
    store.path.write_bytes(whole[:kept] + b"\xff" * (len(whole) - kept))
    damaged = CacheStore(store.path)
    found = [damaged.get(f"{number:064}") for number in range(200)]
    assert None in found
    assert damaged.problem is not None
    assert len(caplog.records) == 1
    await damaged.aclose()


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    store = CacheStore(tmp_path / "c.sqlite")
    await store.put("a", "1")
    files = list(os.scandir(tmp_path))
    assert len(files) == 3  # the database, its log, the log's index
    assert [entry.name for entry in files if entry.stat().st_mode & 0o077] == []
    await store.aclose()


async def test_the_event_loop_runs_on_while_the_disk_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    store = CacheStore(tmp_path / "c.sqlite")
    monkeypatch.setattr(type(store._writer), "_commit", lambda *_: time.sleep(0.2))
    put = asyncio.create_task(store.put("a", "1"))
    ticks = 0
    while not put.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 3
    await store.aclose()
