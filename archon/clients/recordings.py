"""Recorded answers read into memory: one index a file, shared by all models that replay it."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archon.errors import ConfigError, MissingExtraError

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded answer. None = not recorded."""

    answer: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a file say what."""

    question: str
    model: tuple[str, ...]
    separator: str
    sample: str
    answer: str


Index = Mapping[str, Mapping[tuple[str, int], Recorded]]
"""By model name, then by question text and sample index."""


def read_index(path: Path, columns: Columns, questions: Mapping[Any, str] | None) -> Index:
    """The answers of a JSONL or Parquet file; a row whose answer is null was not answered and is left out.

    Args:
        questions: texts by the value of the question column; None = that column holds the text itself.

    Raises:
        ConfigError: a column is missing, or two rows name one draw.
        MissingExtraError: a Parquet file without pyarrow.
    """
    index: dict[str, dict[tuple[str, int], Recorded]] = {}
    for number, row in enumerate(read_rows(path, columns)):
        try:
            name = columns.separator.join(_part(row[column]) for column in columns.model)
            text = row[columns.question] if questions is None else questions[row[columns.question]]
            draw = (str(text).strip(), int(row.get(columns.sample) or 0))
            answer = row[columns.answer]
        except KeyError as error:
            raise ConfigError(f"{path}: row {number}: no column or question {error}; it has {', '.join(row)}") from None
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{path}: row {number}: {error}") from None
        answers = index.setdefault(name, {})
        if draw in answers:
            raise ConfigError(f"{path}: row {number}: sample {draw[1]} of a question is recorded twice for {name!r}")
        if answer is not None:
            answers[draw] = _recorded(str(answer), row)
    return index


def read_questions(path: Path, field: str) -> Mapping[Any, str]:
    """Question texts by line number (from 0) of a JSONL file, plain or gzipped."""
    try:
        return {number: str(row[field]) for number, row in enumerate(_jsonl(path))}
    except KeyError as error:
        raise ConfigError(f"{path}: a row has no {error}") from None


def read_rows(path: Path, columns: Columns) -> Iterable[Row]:
    """The rows of a Parquet or JSONL file."""
    return _parquet(path, columns) if path.suffix == ".parquet" else _jsonl(path)


def _jsonl(path: Path) -> Iterator[Row]:
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ConfigError(f"{path}:{number}: a JSON object is needed")
                    yield row
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None


def _parquet(path: Path, columns: Columns) -> Iterable[Row]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise MissingExtraError("reading a Parquet file", "data") from error
    wanted = {columns.question, *columns.model, columns.sample, columns.answer, *_OPTIONAL}
    try:
        names = set(parquet.read_schema(path).names)
        rows: list[Row] = parquet.read_table(path, columns=sorted(wanted & names)).to_pylist()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, ArrowException) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    return rows


_OPTIONAL = ("prompt_tokens", "completion_tokens", "seconds", "finish_reason")


def _recorded(answer: str, row: Row) -> Recorded:
    return Recorded(answer, *(row.get(name) for name in _OPTIONAL))


def _part(value: object) -> str:
    """A column's value as part of a model's name: null is "-", a number is short ("0", "0.7")."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)
