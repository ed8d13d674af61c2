"""SQLite files that several processes may open for the first time at the same instant."""

from __future__ import annotations

import sqlite3
import time

_PAUSE = 0.01


def write_ahead(connection: sqlite3.Connection, patience: float = 20.0) -> None:
    """Puts a file into WAL mode, as `PRAGMA journal_mode = WAL` does, and waits for others that do so.

    While the mode changes SQLite waits for nobody, whatever the connection's timeout: the second of two processes is
    told at once that the database is locked.

    Args:
        patience: seconds.

    Raises:
        sqlite3.Error: it is no database, cannot be written, or stayed locked.
    """
    until = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not _busy(error) or time.monotonic() > until:
                raise
            time.sleep(_PAUSE)


def _busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
