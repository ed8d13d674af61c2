"""Answers to requests with an Idempotency-Key, shared by the workers of one machine through a SQLite file.

One worker claims a request and runs it; the others wait for its answer. A worker that runs one says so every few
seconds, so that a request whose worker died is claimed by the next. Answers lie in the file for `ttl` seconds, readable
by its owner alone.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from archon.errors import ConfigError

STALE = 10.0
"""Seconds without a word after which the worker that runs a request is taken for dead."""
BEAT = 3.0
"""Seconds between two words."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    name TEXT PRIMARY KEY, body_hash BLOB NOT NULL, worker TEXT NOT NULL, at REAL NOT NULL, status INTEGER, headers
    TEXT, body BLOB
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A whole answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


Claim = Kept | Literal["mine", "running", "other body"]
"""What is to be done with a request: answer it with what is kept, run it, wait, refuse it."""


class SharedAnswers:
    """One worker's view. Calls block for about a millisecond; the file is open during a call alone.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(self, path: Path, *, ttl: float = 600.0, clock: Callable[[], float] = time.time) -> None:
        self._path, self._ttl, self._clock = path, ttl, clock
        self._worker = secrets.token_hex(8)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            with self._transaction() as db:
                db.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"answers {path}: cannot be opened ({error})") from None

    def claim(self, name: str, body_hash: bytes) -> Claim:
        """Takes a request, or says what became of it."""
        now = self._clock()
        with self._transaction() as db:
            db.execute("DELETE FROM answers WHERE status IS NOT NULL AND at < ?", (now - self._ttl,))
            row = db.execute(
                "SELECT body_hash, at, status, headers, body FROM answers WHERE name = ?", (name,)
            ).fetchone()
            if row is None or (row[2] is None and row[1] < now - STALE):
                sql = "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, NULL, NULL, NULL)"
                db.execute(sql, (name, body_hash, self._worker, now))
                return "mine"
        if row[0] != body_hash:
            return "other body"
        if row[2] is None:
            return "running"
        return Kept(
            row[2], [(key.encode("latin-1"), value.encode("latin-1")) for key, value in json.loads(row[3])], row[4]
        )

    def beat(self, name: str) -> None:
        """Says that the request is still being run."""
        with self._transaction() as db:
            sql = "UPDATE answers SET at = ? WHERE name = ? AND worker = ? AND status IS NULL"
            db.execute(sql, (self._clock(), name, self._worker))

    def keep(self, name: str, answer: Kept) -> None:
        """Gives the answer to those who wait and to those who come."""
        headers = json.dumps([[key.decode("latin-1"), value.decode("latin-1")] for key, value in answer.headers])
        with self._transaction() as db:
            sql = "UPDATE answers SET at = ?, status = ?, headers = ?, body = ? WHERE name = ? AND worker = ?"
            db.execute(sql, (self._clock(), answer.status, headers, answer.body, name, self._worker))

    def drop(self, name: str) -> None:
        """Gives a request back: it failed, or nobody waits for it any more."""
        with self._transaction() as db:
            db.execute("DELETE FROM answers WHERE name = ? AND worker = ?", (name, self._worker))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self._path, timeout=10, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")
