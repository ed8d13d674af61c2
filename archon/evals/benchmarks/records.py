"""JSONL files, plain or gzipped, read line by line; every mistake is told with its line number and how to mend it."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from archon.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a file."""

    where: str
    """`file:line`, for messages."""
    data: Mapping[str, Any]

    def text(self, field: str, option: str = "") -> str:
        """A field as text (numbers become text). `option` is the benchmark option that names the field.

        Raises:
            ConfigError: the field is missing, empty or neither text nor a number.
        """
        value = self.data.get(field)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        hint = f"; name the right field with the option {option!r}" if option else ""
        problem = "is missing" if field not in self.data else f"must be text or a number, got {value!r:.60}"
        raise ConfigError(f"{self.where}: field {field!r} {problem} (fields here: {self._fields()}){hint}")

    def _fields(self) -> str:
        return ", ".join(map(str, self.data)) or "none"


def read_records(path: Path) -> list[Record]:
    """Every record of a file in order; blank lines are passed over.

    Raises:
        ConfigError: no such file, not gzip, not UTF-8, a line that is no JSON object, or no record at all.
    """
    try:
        with _opened(path) as lines:
            records = list(_records(path, lines))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path of a JSONL file, plain or .gz") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ConfigError(f"{path}: not a whole gzip file ({error}); compress it again, or drop the .gz") from None
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror or error}); give the path of a JSONL file"
        ) from None
    if not records:
        raise ConfigError(f"{path}: the file holds no question; write one JSON object per line")
    return records


def _opened(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")


def _records(path: Path, lines: IO[str]) -> Iterator[Record]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            data = json.loads(line.lstrip("\ufeff"))
        except (json.JSONDecodeError, RecursionError) as error:
            raise ConfigError(f"{where}: not JSON ({error}); write one JSON object per line") from None
        if not isinstance(data, dict):
            raise ConfigError(f"{where}: a JSON object is needed, got {type(data).__name__}")
        yield Record(where, data)
