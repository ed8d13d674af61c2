"""The ledger's book in a SQLite file, right for several worker processes at once.

Each commit is one write transaction of a fixed number of statements, however many requests it carries: keys go in as
one JSON text and what they find comes out as one, rows as one statement's values, so the interpreter's lock changes
hands a few times a commit and not a few times a request.

A process that writes holds a lock on a file of its own beside the database for as long as it lives; the kernel frees it
however the process ends. Whoever can take the lock of another's file knows that its process is gone.

Closed entries leave the file, so it stays as small as what is under way; those charged at their worst case stay, for
the operator to see. Written data survives the process (SIGKILL included), not a power failure: `synchronous` is NORMAL.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from archon.errors import ConfigError
from archon.proxy.book import Account, Claim, Entry, Grant, Outcome, Page, Total, decide, settle
from archon.proxy.quota import LedgerError
from archon.wal import write_ahead

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    id TEXT PRIMARY KEY, worker TEXT NOT NULL, key_id TEXT NOT NULL, day TEXT NOT NULL, request_id TEXT NOT NULL,
    state TEXT NOT NULL, micro_usd INTEGER NOT NULL, tokens INTEGER NOT NULL, reason TEXT NOT NULL, at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS open_entries ON entries (worker) WHERE state = 'open';
CREATE TABLE IF NOT EXISTS totals (
    key_id TEXT NOT NULL, day TEXT NOT NULL, spent_micro_usd INTEGER NOT NULL, spent_tokens INTEGER NOT NULL,
    held_micro_usd INTEGER NOT NULL, held_tokens INTEGER NOT NULL, flagged_micro_usd INTEGER NOT NULL,
    requests INTEGER NOT NULL, PRIMARY KEY (key_id, day)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rates (key_id TEXT PRIMARY KEY, arrival INTEGER NOT NULL) WITHOUT ROWID;
"""

_TOTALS = """
SELECT t.* FROM json_each(?) j
JOIN totals t ON t.key_id = json_extract(j.value, '$[0]') AND t.day = json_extract(j.value, '$[1]')
"""
_PAGE = """
WITH
found AS (SELECT e.* FROM json_each(:ids) j JOIN entries e ON e.id = j.value),
wanted AS (
    SELECT json_extract(value, '$[0]') AS key_id, json_extract(value, '$[1]') AS day FROM json_each(:accounts)
    UNION SELECT key_id, day FROM found
)
SELECT
    (SELECT json_group_array(json_array(id, key_id, day, state, micro_usd, tokens)) FROM found),
    (SELECT json_group_array(json_array(key_id, day, spent_micro_usd, spent_tokens, held_micro_usd, held_tokens,
        flagged_micro_usd, requests)) FROM totals NATURAL JOIN wanted),
    (SELECT json_group_object(r.key_id, r.arrival) FROM json_each(:limited) j JOIN rates r ON r.key_id = j.value)
"""
_OPEN = "INSERT INTO entries VALUES", "(?, ?, ?, ?, ?, 'open', ?, ?, '', ?)"
_FLAG = """
UPDATE entries SET state = 'worst', reason = json_extract(j.value, '$[1]')
FROM json_each(?) j WHERE entries.id = json_extract(j.value, '$[0]')
"""
_DELETE = "DELETE FROM entries WHERE id IN (SELECT value FROM json_each(?))"
_PUT_TOTALS = "INSERT OR REPLACE INTO totals VALUES", "(?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_RATES = "INSERT OR REPLACE INTO rates VALUES", "(?, ?)"
_ROWS = 50
"""Of one statement; each number of rows is a statement of its own, and they are kept prepared."""


class SqliteBook:
    """See `archon.proxy.book.Book`.

    Args:
        path: the database file; made where it is missing.

    Raises:
        ConfigError: the file cannot be opened or is no such database.
    """

    def __init__(self, path: Path) -> None:
        self._locks = path.with_name(path.name + ".workers")
        try:
            self._locks.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._db = sqlite3.connect(
                path, timeout=20, isolation_level=None, check_same_thread=False, cached_statements=3 * _ROWS + 20
            )
            write_ahead(self._db)
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_SCHEMA)
            self.worker = secrets.token_hex(8)
            self._lock = _locked(self._locks / self.worker)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"ledger {path}: cannot be opened ({error})") from None
        self._closed = False

    def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Grant]:
        """See `Book.commit`."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            page = self._read(claims, outcomes)
            settle(page, outcomes)
            grants = decide(page, claims)
            self._write(page)
            self._db.execute("COMMIT")
            return grants
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger cannot be written ({error})") from None
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def reap(self) -> int:
        """See `Book.reap`."""
        known = self._db.execute("SELECT DISTINCT worker FROM entries WHERE state = 'open'").fetchall()
        workers = {path.name for path in self._locks.iterdir()} | {row[0] for row in known}
        return sum(self._reaped(worker) for worker in sorted(workers - {self.worker}))

    def total(self, account: Account) -> Total:
        """See `Book.total`."""
        rows = self._db.execute(_TOTALS, (json.dumps([account]),)).fetchall()
        return Total(*rows[0][2:]) if rows else Total()

    def day(self, day: str) -> dict[str, Total]:
        """See `Book.day`."""
        rows = self._db.execute("SELECT * FROM totals WHERE day = ?", (day,))
        return {row[0]: Total(*row[2:]) for row in rows}

    def close(self) -> None:
        """See `Book.close`. Entries left open are for the next process to charge."""
        if self._closed:
            return
        self._closed = True
        self._db.close()
        (self._locks / self.worker).unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)

    def _reaped(self, worker: str) -> int:
        path = self._locks / worker
        lock = _locked(path, wait=False)
        if lock is None:
            return 0
        try:
            charged = self._charge(worker)
            path.unlink(missing_ok=True)
            return charged
        finally:
            os.close(lock)

    def _charge(self, worker: str) -> int:
        rows = self._db.execute(
            "SELECT id, micro_usd, tokens FROM entries WHERE worker = ? AND state = 'open'", (worker,)
        )
        outcomes = [Outcome(row[0], "worst", row[1], row[2], "its process died") for row in rows]
        if outcomes:
            self.commit((), outcomes)
        return len(outcomes)

    def _read(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> Page:
        asked = {
            "ids": json.dumps([outcome.id for outcome in outcomes]),
            "accounts": json.dumps(list({claim.account for claim in claims})),
            "limited": json.dumps(list({claim.account[0] for claim in claims if claim.per_minute})),
        }
        entries, totals, arrivals = map(json.loads, self._db.execute(_PAGE, asked).fetchone())
        return Page(
            {(row[0], row[1]): Total(*row[2:]) for row in totals},
            arrivals,
            {row[0]: Entry(row[0], (row[1], row[2]), *row[3:]) for row in entries},
        )

    def _write(self, page: Page) -> None:
        if flagged := [[o.id, o.reason] for o in page.closed if o.state == "worst"]:
            self._db.execute(_FLAG, (json.dumps(flagged),))
        if done := [o.id for o in page.closed if o.state != "worst"]:
            self._db.execute(_DELETE, (json.dumps(done),))
        own = self.worker
        self._put(_OPEN, [(c.id, own, *c.account, c.request_id, c.micro_usd, c.tokens, c.at) for c in page.opened])
        self._put(_PUT_TOTALS, [(*account, *total.fields()) for account, total in page.totals.items()])
        self._put(_PUT_RATES, list(page.arrivals.items()))

    def _put(self, statement: tuple[str, str], rows: Sequence[tuple[object, ...]]) -> None:
        head, row = statement
        for begin in range(0, len(rows), _ROWS):
            some = rows[begin : begin + _ROWS]
            marks = ", ".join([row] * len(some))
            self._db.execute(f"{head} {marks}", [value for each in some for value in each])


def _locked(path: Path, *, wait: bool = True) -> int | None:
    """The lock on a file, held until the descriptor is closed or the process ends; None = another holds it.

    Whoever reaps a dead process removes its file, so a lock may turn out to be one on a file that is no longer there.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(file).st_ino:
                return file
        except BlockingIOError:
            os.close(file)
            return None
        os.close(file)
