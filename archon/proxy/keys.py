"""API keys: who may call, and how much of it. A key is shown once, when it is made; the store holds its hash.

A key is 256 random bits, so its SHA-256 cannot be reversed by guessing and needs no salt. A slow hash (bcrypt, argon2)
protects secrets that people choose; here it would only add its cost to every request.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from archon.errors import ConfigError

PREFIX = "sk-archon-"
MAX_LENGTH = 256
"""Characters; a longer credential is no key of ours and is not hashed."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is known of a key; never the key itself."""

    id: str
    name: str
    usd_per_day: int | None = None
    """Micro-dollars a UTC day; None = no bound."""
    tokens_per_day: int | None = None
    requests_per_minute: int | None = None
    created: float = 0.0
    """Unix time."""
    revoked: float | None = None
    """Unix time; None = in force."""


Known = dict[str, tuple[str, KeyRecord]]
"""Keys in force: the first 16 digits of a hash → the whole hash and the record."""


class KeyStore(ABC):
    """Where keys are kept: one table of a database. Calls block; the server makes them off the event loop.

    Attributes:
        table: its name.
    """

    table: ClassVar[str]

    def create(
        self,
        name: str,
        *,
        usd_per_day: int | None = None,
        tokens_per_day: int | None = None,
        requests_per_minute: int | None = None,
    ) -> tuple[str, KeyRecord]:
        """A new key: its secret, shown this once, and its record."""
        secret, record = new_secret(), new_record(name, usd_per_day, tokens_per_day, requests_per_minute)
        values = (record.id, digest(secret), record.name, usd_per_day, tokens_per_day, requests_per_minute)
        self._run(f"INSERT INTO {self.table} VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", (*values, record.created))
        return secret, record

    def list(self) -> Sequence[KeyRecord]:
        """All keys, the oldest first, revoked ones too."""
        return [KeyRecord(*row) for row in self._run(f"SELECT {COLUMNS} FROM {self.table} ORDER BY created, id")]

    def revoke(self, key_id: str) -> KeyRecord:
        """Puts a key out of force for good. Raises ConfigError where there is none of that id."""
        self._run(f"UPDATE {self.table} SET revoked = coalesce(revoked, ?) WHERE id = ?", (time.time(), key_id))
        return found(key_id, self.list())

    def find(self, secret: str) -> KeyRecord | None:
        """The key in force that this secret belongs to."""
        return matching(secret, self.in_force())

    def in_force(self) -> Known:
        """The keys in force."""
        rows = self._run(f"SELECT hash, {COLUMNS} FROM {self.table} WHERE revoked IS NULL")
        return index((row[0], KeyRecord(*row[1:])) for row in rows)

    @abstractmethod
    def close(self) -> None:
        """Idempotent."""

    @abstractmethod
    def _run(self, sql: str, values: tuple[Any, ...] = ()) -> Sequence[Any]:
        """The rows of a statement, whose values stand as `?`."""


def open_store(url: str) -> KeyStore:
    """The store at a SQLite path (or sqlite:// URL) or a postgresql:// URL.

    Raises:
        ConfigError: it cannot be opened; the text never holds the URL's password.
        MissingExtraError: PostgreSQL without its driver.
    """
    if is_postgres(url):
        from archon.proxy.keys_postgres import PostgresKeys

        return PostgresKeys(url)
    return SqliteKeys(sqlite_path(url))


def is_postgres(url: str) -> bool:
    """Whether a store's URL names a PostgreSQL database."""
    return url.startswith(("postgresql://", "postgres://"))


def sqlite_path(url: str) -> Path:
    """The file of a SQLite path or URL."""
    path = url.removeprefix("sqlite:///").removeprefix("sqlite://")
    if "://" in path:
        raise ConfigError(f"store: {path.split('://')[0]}:// is not known; give a file path or a postgresql:// URL")
    return Path(path)


def default_store() -> str:
    """The store where none is named: proxy.db in the user's state folder."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return str((Path(state) if state else Path.home() / ".local" / "state") / "archon-engine" / "proxy.db")


def new_secret() -> str:
    """A key: 256 random bits behind a prefix that secret scanners can know."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What the store keeps in place of a key."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def new_record(
    name: str, usd_per_day: int | None, tokens_per_day: int | None, requests_per_minute: int | None
) -> KeyRecord:
    """A record of a new key. Raises ConfigError where a bound is negative or the name is empty."""
    if not name.strip() or len(name) > 100:
        raise ConfigError("key: its name must have 1 to 100 characters")
    for bound, value in (("USD a day", usd_per_day), ("tokens a day", tokens_per_day)):
        if value is not None and value < 0:
            raise ConfigError(f"key: {bound} must be ≥ 0, got {value}")
    if requests_per_minute is not None and requests_per_minute < 1:
        raise ConfigError(f"key: requests per minute must be ≥ 1, got {requests_per_minute}")
    key_id = "key_" + secrets.token_hex(6)
    return KeyRecord(key_id, name.strip(), usd_per_day, tokens_per_day, requests_per_minute, time.time())


def index(rows: Iterable[tuple[str, KeyRecord]]) -> Known:
    """Keys by the beginning of their hash."""
    return {kept[:16]: (kept, record) for kept, record in rows}


def matching(secret: str, known: Known) -> KeyRecord | None:
    """The key among `known` that a secret belongs to, in a time that tells nothing of the others.

    The look-up is by a part of a hash that the caller cannot steer; the comparison after it is constant in time.
    """
    if not secret.startswith(PREFIX) or len(secret) > MAX_LENGTH:
        return None
    made = digest(secret)
    kept, record = known.get(made[:16], ("", None))
    return record if hmac.compare_digest(kept, made) else None


_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, name TEXT NOT NULL, usd_per_day INTEGER, tokens_per_day INTEGER,
    requests_per_minute INTEGER, created REAL NOT NULL, revoked REAL
) WITHOUT ROWID
"""
COLUMNS = "id, name, usd_per_day, tokens_per_day, requests_per_minute, created, revoked"


class SqliteKeys(KeyStore):
    """Keys in a SQLite file that several processes may share. Each call opens and closes the file."""

    table = "keys"

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._run(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"store {path}: cannot be opened ({error})") from None

    def close(self) -> None:
        """Nothing is held open between calls."""

    def _run(self, sql: str, values: tuple[Any, ...] = ()) -> Sequence[Any]:
        connection = sqlite3.connect(self._path, timeout=10)
        try:
            with connection:
                return connection.execute(sql, values).fetchall()
        finally:
            connection.close()


def found(key_id: str, records: Iterable[KeyRecord]) -> KeyRecord:
    """The record of that id. Raises ConfigError where there is none."""
    for record in records:
        if record.id == key_id:
            return record
    raise ConfigError(f"there is no key {key_id!r}; `archon keys list` shows them")
