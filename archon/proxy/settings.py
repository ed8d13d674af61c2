"""What a server is told when it starts. Every bound has a default; nothing is read from the environment here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Of one app."""

    files: tuple[Path, ...] = ()
    """Architecture files; each is served as archon/NAME, NAME being its `name` or the file's stem."""
    models: Path | None = None
    """YAML with further rows of the model table; every row is served as a plain model."""
    cache: Path | None = None
    """Folder of the call cache; None = no cache."""
    store: str | None = None
    """SQLite path or postgresql:// URL of keys and ledger; None = open to all on loopback, nothing written down."""
    host: str = "127.0.0.1"
    """Bound to; anywhere but on loopback a key is needed."""
    max_body_bytes: int = 20 * 2**20
    max_messages: int = 2000
    max_n: int = 16
    """Largest `n`: every one is a run of the graph."""
    deadline: float = 600.0
    """Seconds for one request; the official clients' own default."""
    keep_alive: float = 5.0
    """Seconds of silence after which a stream gets a comment."""
    drain: float = 30.0
    """Seconds that requests under way are given when the server stops."""
    trace_days: float = 7.0
    trace_count: int = 1000
    """Traces kept, by age and number."""
    trace_text: bool = True
    """Whether traces hold the texts; without, only figures."""
    unsafe_exec: bool = False
    """Whether code that models write is run even where no isolation works."""
    log_content: bool = False
    """Whether messages and answers are logged too."""
    log_level: str = "info"
    docs: bool = True
    """Whether /docs, /openapi.json and /ui are served."""
