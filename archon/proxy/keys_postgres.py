"""Keys in a PostgreSQL database, for services on several machines."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from archon.proxy.keys import KeyStore
from archon.proxy.postgres import connect, make

_SCHEMA = """
CREATE TABLE IF NOT EXISTS archon_keys (
    id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, name TEXT NOT NULL, usd_per_day BIGINT, tokens_per_day BIGINT,
    requests_per_minute BIGINT, created DOUBLE PRECISION NOT NULL, revoked DOUBLE PRECISION
)
"""
_LOCK = 0x6172_6368_6F6E_01


class PostgresKeys(KeyStore):
    """See `archon.proxy.keys.KeyStore`. A broken connection is made again at the next call.

    Raises:
        ConfigError: the database cannot be reached.
        MissingExtraError: the driver is not installed.
    """

    table = "archon_keys"

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._connection: Any = connect(url)
        make(self._connection, _LOCK, _SCHEMA)

    def close(self) -> None:
        """See `KeyStore.close`."""
        self._connection.close()

    def _run(self, sql: str, values: tuple[Any, ...] = ()) -> Sequence[Any]:
        with self._lock:
            if self._connection.closed:
                self._connection = connect(self._url)
            cursor = self._connection.execute(sql.replace("?", "%s"), values)
            return list(cursor.fetchall()) if cursor.description else []
