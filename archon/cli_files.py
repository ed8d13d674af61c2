"""Files that the command line writes: checked before anything is spent, written at the end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from archon.errors import ConfigError


def _writable(path: Path | None) -> Path | None:
    """The path. Raises ConfigError where a file could not be written there; nothing is written yet."""
    if path is not None and (reason := _hindrance(path)):
        raise ConfigError(f"{path}: cannot be written ({reason}); name another file with --json")
    return path


def _hindrance(path: Path) -> str | None:
    if path.is_dir():
        return "it is a folder"
    if not path.parent.is_dir():
        return f"there is no folder {str(path.parent)!r}"
    return None if os.access(path if path.exists() else path.parent, os.W_OK) else "no permission"


JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Also write the result to this file.", callback=_writable)
]


def write_json(path: Path, value: object) -> None:
    """Writes JSON. Raises ConfigError when the file cannot be written."""
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8", errors="backslashreplace")  # half a surrogate pair as JSON's \uXXXX
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}); name another file with --json") from None
