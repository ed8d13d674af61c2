"""The secret that keys the delimiters around quoted candidates: one a user, made when first needed.

It lies in the user's state folder ($XDG_STATE_HOME/archon-engine, else ~/.local/state/archon-engine), readable by its
owner alone, and is copied into every new cache. So equal prompts are equal, and seeded runs repeat, in every folder of
one user, while no model or question author can know it. Where it cannot be kept, it lives as long as the process.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

_BYTES = 32


def quoting_secret() -> bytes:
    """The user's secret, 32 bytes."""
    try:
        path = _folder() / "quoting-secret"
        kept = path.read_bytes() if path.exists() else _kept(path)
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return secrets.token_bytes(_BYTES)
    return kept if len(kept) == _BYTES else secrets.token_bytes(_BYTES)


def _kept(path: Path) -> bytes:
    """Writes a new secret whole or not at all; where another process was first, its secret holds."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()
    return path.read_bytes()


def _folder() -> Path:
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state else Path.home() / ".local" / "state") / "archon-engine"
