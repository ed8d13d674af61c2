"""Files that several processes open for the first time at once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Timer

import pytest

from archon.wal import write_ahead


@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
def test_who_comes_second_waits_for_the_first(lock: str, tmp_path: Path) -> None:
    path = tmp_path / "fresh.db"
    first = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    with closing(first), closing(sqlite3.connect(path, timeout=0)) as second:
        first.execute(f"BEGIN {lock}")
        leave = Timer(0.2, lambda: first.execute("ROLLBACK"))
        leave.start()
        write_ahead(second)
        leave.join()
        assert second.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_patience_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "locked.db"
    with closing(sqlite3.connect(path)) as other, closing(sqlite3.connect(path, timeout=0)) as connection:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            write_ahead(connection, patience=0.05)


def test_what_is_no_database_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("no database at all, though it is long enough to be one" * 20)
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.DatabaseError, match="not a database"):
        write_ahead(connection)
