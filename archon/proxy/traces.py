"""What past requests did, for the page that looks inside an answer. Each belongs to the key that made it.

Kept in a SQLite file for `max_age` seconds and the newest `max_count` of each key, those with nothing to look into
(passed through) counted apart, so that they push out no others. Written by a thread, so a request never waits for it;
when more wait than the queue holds, the newest are dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Full, Queue
from typing import Any

from archon.errors import ConfigError
from archon.wal import write_ahead

_SCHEMA = """
CREATE TABLE IF NOT EXISTS traces (
    trace_id TEXT NOT NULL, key_id TEXT NOT NULL, at REAL NOT NULL, summary TEXT NOT NULL, trace TEXT NOT NULL,
    UNIQUE (key_id, trace_id)
);
CREATE INDEX IF NOT EXISTS traces_by_kind ON traces (key_id, trace = '{}', at);
DROP INDEX IF EXISTS traces_by_key;
CREATE INDEX IF NOT EXISTS traces_by_age ON traces (at);
"""
_KIND = (
    "SELECT * FROM (SELECT trace_id, at, summary, rowid AS place FROM traces WHERE key_id = :key AND "
    "(trace = '{{}}') = {passed} AND at > :oldest ORDER BY at DESC, rowid DESC LIMIT :limit)"
)
LISTED = f"{_KIND.format(passed=0)} UNION ALL {_KIND.format(passed=1)} ORDER BY at DESC, place DESC"
"""The newest of each kind; its index has the kind in it, so that no more rows are read than are listed."""
WAITING = 256
"""Traces that may wait to be written."""
LARGEST = 4_000_000
"""Bytes of one trace; a larger one keeps its summary only."""
TOGETHER = 32
"""Traces in one transaction at most."""
PRUNE = 50
"""Traces written between two looks at the limits."""

logger = logging.getLogger("archon.proxy.traces")
Row = tuple[str, str, float, str, Callable[[], Mapping[str, Any]]]


class TraceStore:
    """Past requests.

    Args:
        path: the file; made where it is missing.
        max_age: seconds.
        max_count: of each key.
        dropped: told of every trace that was not kept.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_age: float = 7 * 86_400.0,
        max_count: int = 1000,
        dropped: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path, self._max_age, self._max_count = path, max_age, max_count
        self._dropped, self._clock = dropped, clock
        self._queue: Queue[Row | None] = Queue(WAITING)
        self._thread: threading.Thread | None = None
        self._ended = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            with contextlib.closing(self._connect()) as db:
                write_ahead(db)
                db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"traces {path}: cannot be opened ({error})") from None

    def save(
        self,
        trace_id: str,
        key_id: str | None,
        summary: Mapping[str, Any],
        trace: Callable[[], Mapping[str, Any]],
        *,
        at: float | None = None,
    ) -> None:
        """Keeps one request; never waits.

        Args:
            trace: called by the thread that writes; {} = there is nothing to look into.
            at: Unix time; None = now.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="archon-traces", daemon=True)
            self._thread.start()
        try:
            when = self._clock() if at is None else at
            self._queue.put_nowait((trace_id, key_id or "", when, json.dumps(dict(summary)), trace))
        except Full:
            self._dropped()

    async def list(self, key_id: str | None, limit: int = 50) -> list[dict[str, Any]]:
        """Summaries of a key's requests, the newest first, each with its `trace_id` and `at` (Unix time).

        Args:
            limit: of those that can be looked into, and as many of the others.
        """
        values = {"key": key_id or "", "oldest": self._oldest(), "limit": limit}
        rows = await asyncio.to_thread(self._rows, LISTED, values)
        return [{**json.loads(row[2]), "trace_id": row[0], "at": row[1]} for row in rows]

    async def get(self, key_id: str | None, trace_id: str) -> dict[str, Any] | None:
        """One request of the key's; None where there is none of that id, or it is another key's."""
        sql = "SELECT at, summary, trace FROM traces WHERE key_id = ? AND trace_id = ? AND at > ?"
        rows = await asyncio.to_thread(self._rows, sql, (key_id or "", trace_id, self._oldest()))
        if not rows:
            return None
        at, summary, trace = rows[0]
        return {"trace_id": trace_id, "at": at, "summary": json.loads(summary), "trace": json.loads(trace)}

    def prune(self) -> None:
        """Deletes what is too old, and all but the newest of each key. The writer does so every now and then."""
        with contextlib.closing(self._connect()) as db:
            self._prune(db)

    async def flush(self) -> None:
        """Returns when everything saved so far is on file."""
        await asyncio.to_thread(self._queue.join)

    async def aclose(self) -> None:
        """Writes what waits and ends the thread. Idempotent."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            await asyncio.to_thread(self._queue.put, None)
            await asyncio.to_thread(thread.join)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=20)

    def _oldest(self) -> float:
        return self._clock() - self._max_age

    def _rows(self, sql: str, values: tuple[Any, ...] | dict[str, Any]) -> Any:
        with contextlib.closing(self._connect()) as db:
            return db.execute(sql, values).fetchall()

    def _run(self) -> None:
        self._ended = False
        written, pruned = 0, -PRUNE
        with contextlib.closing(self._connect()) as db:
            db.execute("PRAGMA synchronous = NORMAL")
            while not self._ended:
                written += self._write(db)
                if written - pruned >= PRUNE:
                    pruned = written
                    self._pruned(db)

    def _write(self, db: sqlite3.Connection) -> int:
        """Writes the next trace, and those that wait behind it, in one transaction; how many."""
        taken = kept = 0
        try:
            with db:
                while not self._ended and (not taken or (taken < TOGETHER and not self._queue.empty())):
                    row = self._queue.get()
                    taken += 1
                    self._ended = row is None
                    kept += row is not None and self._inserted(db, row)
        except sqlite3.Error as error:
            self._lost(kept, error)
            kept = 0
        finally:
            for _ in range(taken):
                self._queue.task_done()
        return kept

    def _inserted(self, db: sqlite3.Connection, row: Row) -> bool:
        trace_id, key_id, at, summary, trace = row
        try:
            text = json.dumps(trace())
            if len(text) > LARGEST:
                text = json.dumps({"omitted": f"this trace of {len(text):,} bytes is larger than is kept"})
            db.execute("INSERT OR REPLACE INTO traces VALUES (?, ?, ?, ?, ?)", (trace_id, key_id, at, summary, text))
        except Exception as error:  # a trace is never worth a request, nor the thread
            self._lost(1, error)
            return False
        return True

    def _pruned(self, db: sqlite3.Connection) -> None:
        try:
            self._prune(db)
        except sqlite3.Error as error:  # tried again after the next traces
            logger.error("old traces could not be deleted: %s", type(error).__name__)

    def _lost(self, count: int, error: Exception) -> None:
        logger.error("%d traces could not be kept: %s", count, type(error).__name__)
        for _ in range(count):
            self._dropped()

    def _prune(self, db: sqlite3.Connection) -> None:
        with db:
            db.execute("DELETE FROM traces WHERE at <= ?", (self._oldest(),))
            db.execute(
                "DELETE FROM traces WHERE rowid IN (SELECT rowid FROM (SELECT rowid, row_number() OVER "
                "(PARTITION BY key_id, trace = '{}' ORDER BY at DESC, rowid DESC) AS place FROM traces) "
                "WHERE place > ?)",
                (self._max_count,),
            )
