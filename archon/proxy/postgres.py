"""The way to PostgreSQL for keys and ledger: a connection, and errors that never hold the URL or its password."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from archon.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    import psycopg

TIMEOUT = 10
"""Seconds to connect."""


def connect(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection that commits each statement by itself.

    Raises:
        MissingExtraError: the driver is not installed.
        ConfigError: there is no way to the database.
    """
    try:
        import psycopg
    except ImportError:
        raise MissingExtraError("PostgreSQL", "postgres") from None
    try:
        return psycopg.connect(url, autocommit=True, connect_timeout=TIMEOUT)
    except psycopg.Error as error:
        raise ConfigError(f"store {shown(url)}: cannot be reached ({type(error).__name__})") from None


def shown(url: str) -> str:
    """A URL as people may see it: host and database."""
    parts = urlsplit(url)
    return f"postgresql://{parts.hostname or ''}{parts.path}"


def make(connection: psycopg.Connection[tuple[Any, ...]], lock: int, *statements: str) -> None:
    """Runs `CREATE … IF NOT EXISTS` statements, one process at a time: two at once would trip over each other."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock,))
        for statement in statements:
            connection.execute(statement.encode())
