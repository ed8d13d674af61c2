"""Keys in a PostgreSQL database, for services on several machines."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from archon.proxy.keys import COLUMNS, KeyRecord, Known, digest, found, index, matching, new_record, new_secret
from archon.proxy.postgres import connect, make

_SCHEMA = """
CREATE TABLE IF NOT EXISTS archon_keys (
    id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, name TEXT NOT NULL, usd_per_day BIGINT, tokens_per_day BIGINT,
    requests_per_minute BIGINT, created DOUBLE PRECISION NOT NULL, revoked DOUBLE PRECISION
)
"""
_LOCK = 0x6172_6368_6F6E_01


class PostgresKeys:
    """See `archon.proxy.keys.KeyStore`. A broken connection is made again at the next call.

    Raises:
        ConfigError: the database cannot be reached.
        MissingExtraError: the driver is not installed.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._connection: Any = connect(url)
        make(self._connection, _LOCK, _SCHEMA)

    def create(
        self,
        name: str,
        *,
        usd_per_day: int | None = None,
        tokens_per_day: int | None = None,
        requests_per_minute: int | None = None,
    ) -> tuple[str, KeyRecord]:
        """See `KeyStore.create`."""
        secret, record = new_secret(), new_record(name, usd_per_day, tokens_per_day, requests_per_minute)
        values = (record.id, digest(secret), record.name, usd_per_day, tokens_per_day, requests_per_minute)
        self._run("INSERT INTO archon_keys VALUES (%s, %s, %s, %s, %s, %s, %s, NULL)", (*values, record.created))
        return secret, record

    def list(self) -> Sequence[KeyRecord]:
        """See `KeyStore.list`."""
        return [KeyRecord(*row) for row in self._run(f"SELECT {COLUMNS} FROM archon_keys ORDER BY created, id")]

    def revoke(self, key_id: str) -> KeyRecord:
        """See `KeyStore.revoke`."""
        self._run("UPDATE archon_keys SET revoked = coalesce(revoked, %s) WHERE id = %s", (time.time(), key_id))
        return found(key_id, self.list())

    def find(self, secret: str) -> KeyRecord | None:
        """See `KeyStore.find`."""
        return matching(secret, self.in_force())

    def in_force(self) -> Known:
        """See `KeyStore.in_force`."""
        rows = self._run(f"SELECT hash, {COLUMNS} FROM archon_keys WHERE revoked IS NULL")
        return index((row[0], KeyRecord(*row[1:])) for row in rows)

    def close(self) -> None:
        """See `KeyStore.close`."""
        self._connection.close()

    def _run(self, sql: str, values: tuple[Any, ...] = ()) -> Sequence[Any]:
        with self._lock:
            if self._connection.closed:
                self._connection = connect(self._url)
            cursor = self._connection.execute(sql, values)
            return list(cursor.fetchall()) if cursor.description else []
