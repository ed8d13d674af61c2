"""The ledger's book in a PostgreSQL database, right for worker processes on several machines.

Rows are locked in one order by all processes (archon.proxy.book.accounts), so commits of one key wait for each other
and never for ever. A process that writes holds an advisory lock of its session; whoever can take it knows that the
process or its connection is gone. One that only lost its connection settles its calls all the same when it is back: a
bill that comes after all replaces the worst case.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from archon.proxy.book import Account, Claim, Entry, Grant, Outcome, Page, Total, accounts, decide, settle
from archon.proxy.postgres import connect, make
from archon.proxy.quota import LedgerError

_ENTRIES = """
CREATE TABLE IF NOT EXISTS archon_entries (
    id TEXT PRIMARY KEY, worker TEXT NOT NULL, key_id TEXT NOT NULL, day TEXT NOT NULL, request_id TEXT NOT NULL,
    state TEXT NOT NULL, micro_usd BIGINT NOT NULL, tokens BIGINT NOT NULL, reason TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL
)
"""
_OPEN_INDEX = "CREATE INDEX IF NOT EXISTS archon_open_entries ON archon_entries (worker) WHERE state = 'open'"
_TOTALS = """
CREATE TABLE IF NOT EXISTS archon_totals (
    key_id TEXT NOT NULL, day TEXT NOT NULL, spent_micro_usd BIGINT NOT NULL, spent_tokens BIGINT NOT NULL,
    held_micro_usd BIGINT NOT NULL, held_tokens BIGINT NOT NULL, flagged_micro_usd BIGINT NOT NULL,
    requests BIGINT NOT NULL, PRIMARY KEY (key_id, day)
)
"""
_RATES = "CREATE TABLE IF NOT EXISTS archon_rates (key_id TEXT PRIMARY KEY, arrival BIGINT NOT NULL)"
_LOCK = 0x6172_6368_6F6E_02

_PUT_TOTAL = """
UPDATE archon_totals SET spent_micro_usd = %s, spent_tokens = %s, held_micro_usd = %s, held_tokens = %s,
    flagged_micro_usd = %s, requests = %s WHERE key_id = %s AND day = %s
"""


class PostgresBook:
    """See `archon.proxy.book.Book`. A broken connection is made again at the next commit.

    Raises:
        ConfigError: the database cannot be reached.
        MissingExtraError: the driver is not installed.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.worker = secrets.token_hex(8)
        self._db: Any = self._connected()
        make(self._db, _LOCK, _ENTRIES, _OPEN_INDEX, _TOTALS, _RATES)

    def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Grant]:
        """See `Book.commit`."""
        import psycopg

        try:
            self._open()
            with self._db.transaction():
                page = self._read(claims, outcomes)
                settle(page, outcomes)
                grants = decide(page, claims)
                self._write(page)
            return grants
        except psycopg.Error as error:
            raise LedgerError(f"the ledger cannot be written ({type(error).__name__})") from None

    def reap(self) -> int:
        """See `Book.reap`."""
        self._open()
        sql = "SELECT DISTINCT worker FROM archon_entries WHERE state = 'open' AND worker <> %s ORDER BY worker"
        return sum(self._reaped(row[0]) for row in self._db.execute(sql, (self.worker,)).fetchall())

    def total(self, account: Account) -> Total:
        """See `Book.total`."""
        self._open()
        row = self._db.execute("SELECT * FROM archon_totals WHERE key_id = %s AND day = %s", account).fetchone()
        return Total(*row[2:]) if row else Total()

    def day(self, day: str) -> dict[str, Total]:
        """See `Book.day`."""
        self._open()
        rows = self._db.execute("SELECT * FROM archon_totals WHERE day = %s", (day,)).fetchall()
        return {row[0]: Total(*row[2:]) for row in rows}

    def close(self) -> None:
        """See `Book.close`."""
        self._db.close()

    def _open(self) -> None:
        """Sees to a connection that holds this process' lock."""
        if self._db.closed:
            self._db = self._connected()

    def _connected(self) -> Any:
        made = connect(self._url)
        made.execute("SELECT pg_advisory_lock(%s)", (_number(self.worker),))
        return made

    def _reaped(self, worker: str) -> int:
        taken = self._db.execute("SELECT pg_try_advisory_lock(%s)", (_number(worker),)).fetchone()
        if not taken[0]:
            return 0
        try:
            sql = "SELECT id, micro_usd, tokens FROM archon_entries WHERE worker = %s AND state = 'open'"
            rows = self._db.execute(sql, (worker,)).fetchall()
            self.commit((), [Outcome(row[0], "worst", row[1], row[2], "its process died") for row in rows])
            return len(rows)
        finally:
            self._db.execute("SELECT pg_advisory_unlock(%s)", (_number(worker),))

    def _read(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> Page:
        sql = """SELECT id, key_id, day, state, micro_usd, tokens FROM archon_entries
                 WHERE id = ANY(%s) ORDER BY id FOR UPDATE"""
        rows = self._db.execute(sql, ([outcome.id for outcome in outcomes],)).fetchall() if outcomes else []
        entries = {row[0]: Entry(row[0], (row[1], row[2]), *row[3:]) for row in rows}
        totals = {account: self._locked(account) for account in accounts(claims, entries)}
        limited = sorted({claim.account[0] for claim in claims if claim.per_minute})
        return Page(totals, {key: self._arrival(key) for key in limited}, entries)

    def _locked(self, account: Account) -> Total:
        put = "INSERT INTO archon_totals VALUES (%s, %s, 0, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING"
        self._db.execute(put, account)
        sql = "SELECT * FROM archon_totals WHERE key_id = %s AND day = %s FOR UPDATE"
        return Total(*self._db.execute(sql, account).fetchone()[2:])

    def _arrival(self, key: str) -> int:
        self._db.execute("INSERT INTO archon_rates VALUES (%s, 0) ON CONFLICT DO NOTHING", (key,))
        row = self._db.execute("SELECT arrival FROM archon_rates WHERE key_id = %s FOR UPDATE", (key,)).fetchone()
        return int(row[0])

    def _write(self, page: Page) -> None:
        with self._db.cursor() as cursor:
            flagged = [(o.reason, o.id) for o in page.closed if o.state == "worst"]
            cursor.executemany("UPDATE archon_entries SET state = 'worst', reason = %s WHERE id = %s", flagged)
            done = [o.id for o in page.closed if o.state != "worst"]
            cursor.execute("DELETE FROM archon_entries WHERE id = ANY(%s)", (done,))
            opened = [
                (c.id, self.worker, *c.account, c.request_id, "open", c.micro_usd, c.tokens, "", c.at)
                for c in page.opened
            ]
            places = ", ".join(["%s"] * 10)
            cursor.executemany(f"INSERT INTO archon_entries VALUES ({places})", opened)
            cursor.executemany(_PUT_TOTAL, [(*astuple(total), *account) for account, total in page.totals.items()])
            rates = [(arrival, key) for key, arrival in page.arrivals.items()]
            cursor.executemany("UPDATE archon_rates SET arrival = %s WHERE key_id = %s", rates)


def _number(worker: str) -> int:
    """A worker's id as the signed number that names its advisory lock."""
    return int.from_bytes(bytes.fromhex(worker), signed=True)
