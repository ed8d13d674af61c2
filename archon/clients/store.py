"""The cache's file: answers by key in one SQLite database, safe under several processes and under SIGKILL.

Write-ahead log; a writer thread commits all answers that wait in one transaction, so the event loop never waits for the
disk and a hundred answers cost one commit. `put` returns once the answer is committed (it then outlives the process;
after a power failure the last commits may be missing, the file stays whole). A file that cannot be used is a
`ConfigError` at the start; one that fails later (disk full, locked, damaged) costs the cache and not the run: that is
logged once, and `CacheStore.problem` holds the reason. Prompts are not stored, only their hash; answers are: the file
is created with mode 0600.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from archon.clients.secret import quoting_secret
from archon.errors import ConfigError
from archon.wal import write_ahead

_log = logging.getLogger("archon.cache")

_VERSION = 1
_READ_PATIENCE = 0.2
"""Seconds a read may wait for a lock: it runs on the event loop."""
_WRITE_PATIENCE = 10.0
"""Seconds a commit may wait for another process."""

_SCHEMA = """
create table if not exists answers (key text primary key, record text not null, created real not null);
create table if not exists meta (name text primary key, value blob not null);
"""
_OWNERS = "create table if not exists owners (name text primary key, answers integer not null)"
"""Apart from the schema: files of the first form lack it."""
_COUNT = "insert into owners values (?, ?) on conflict (name) do update set answers = answers + excluded.answers"


class CacheStore:
    """Answers on disk.

    Args:
        path: the database; it and its folder are made where they are missing.
        owner: who makes the calls kept through this object; several may share the file.

    Raises:
        ConfigError: the file is not such a database, is damaged, locked, or may not be written.
    """

    def __init__(self, path: Path | str, owner: str = "") -> None:
        self.path = Path(path)
        self.owner = owner
        self.problem: str | None = None
        """Why the cache does not work at present; None = it does."""
        try:
            _make_private(self.path)
            self._reader = self._connected(_READ_PATIENCE)
            self.secret = self._prepared()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"cache {self.path}: cannot be used ({error}); move it away or name another file"
            ) from None
        self._writer = _Writer(self)

    def get(self, key: str) -> str | None:
        """The record under `key`; None where there is none (or the file fails, which is said)."""
        try:
            row = self._reader.execute("select record from answers where key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            self.fail(error)
            return None
        return str(row[0]) if row else None

    async def put(self, key: str, record: str) -> None:
        """Keeps a record; returns once it is committed, or at once while the file fails. The first record of a key
        stays."""
        await self._writer.put(key, record)

    def __len__(self) -> int:
        return int(self._reader.execute("select count(*) from answers").fetchone()[0])

    def made(self) -> int:
        """Answers that `owner` was the first to keep, over all its processes."""
        row = self._reader.execute("select answers from owners where name = ?", (self.owner,)).fetchone()
        return int(row[0]) if row else 0

    async def aclose(self) -> None:
        """Commits what waits and closes the file. Idempotent."""
        await asyncio.to_thread(self._writer.close)
        self._reader.close()

    def fail(self, error: Exception) -> None:
        """Notes that the file failed; says so once, until it works again."""
        if self.problem is None:
            _log.warning("cache %s: %s; answers are not kept until it works again", self.path, error)
        self.problem = str(error)

    def connect(self) -> sqlite3.Connection:
        """A connection for the writer thread."""
        return self._connected(_WRITE_PATIENCE)

    def _connected(self, patience: float) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=patience, isolation_level=None, check_same_thread=False)
        connection.execute("pragma synchronous = normal")
        return connection

    def _prepared(self) -> bytes:
        """Makes the tables where they are missing, checks the version; returns the secret kept in the file."""
        with contextlib.closing(self._connected(_WRITE_PATIENCE)) as connection:
            version = connection.execute("pragma user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise sqlite3.DatabaseError(f"it has format {version}, this version reads {_VERSION}")
            write_ahead(connection, _WRITE_PATIENCE)
            if version == 0:
                connection.executescript(f"begin immediate; {_SCHEMA} pragma user_version = {_VERSION}; commit;")
            connection.execute(_OWNERS)
            fresh = ("quoting secret", quoting_secret())
            connection.execute("insert or ignore into meta values (?, ?)", fresh)
            return bytes(connection.execute("select value from meta where name = ?", fresh[:1]).fetchone()[0])


def _make_private(path: Path) -> None:
    """Makes the file, for its owner alone, where there is none.

    A file that exists is not opened: closing it again would drop the locks that SQLite holds on it in this process
    (sqlite.org/howtocorrupt.html, section 2.2).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


@dataclass(slots=True)
class _Item:
    key: str
    record: str
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]

    def finish(self) -> None:
        """Wakes the waiting task, which may be gone with its loop."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(lambda: None if self.done.done() else self.done.set_result(None))


@dataclass(slots=True)
class _Writer:
    """The thread that commits. It is started by the first record and ended by `close`."""

    store: CacheStore
    waiting: queue.SimpleQueue[_Item | None] = field(default_factory=queue.SimpleQueue)
    thread: threading.Thread | None = None

    async def put(self, key: str, record: str) -> None:
        loop = asyncio.get_running_loop()
        item = _Item(key, record, loop, loop.create_future())
        if self.thread is None:
            self.thread = threading.Thread(target=self._work, name="archon-cache", daemon=True)
            self.thread.start()
        self.waiting.put(item)
        if self.store.problem is None:
            await item.done

    def close(self) -> None:
        if self.thread is not None:
            self.waiting.put(None)
            self.thread.join()
            self.thread = None

    def _work(self) -> None:
        connection: sqlite3.Connection | None = None
        while batch := self._batch():
            try:
                connection = connection or self.store.connect()
                self._commit(connection, batch)
                self.store.problem = None
            except (sqlite3.Error, OSError) as error:
                self.store.fail(error)
            for item in batch:
                item.finish()
        if connection is not None:
            connection.close()

    def _batch(self) -> list[_Item]:
        """All that waits now, at least one item; empty once `close` was called and everything is written."""
        batch: list[_Item] = []
        while not batch or not self.waiting.empty():
            item = self.waiting.get()
            if item is None:
                self.waiting.put(None) if batch else None
                break
            batch.append(item)
        return batch

    def _commit(self, connection: sqlite3.Connection, batch: list[_Item]) -> None:
        now = time.time()
        try:
            connection.execute("begin immediate")
            rows = [(item.key, item.record, now) for item in batch]
            new = connection.executemany("insert or ignore into answers values (?, ?, ?)", rows).rowcount
            connection.execute(_COUNT, (self.store.owner, new))
            connection.execute("commit")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("rollback")
            raise
