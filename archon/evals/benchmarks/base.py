"""What benchmarks share: the question set they all become, and the reading of their options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from archon.errors import ConfigError, UnknownNameError
from archon.protocols import Scorer
from archon.types import Message, Question, Split, stable_hash

SPLITS: tuple[Split, ...] = get_args(Split)

M = TypeVar("M", bound="SizeOptions")


@dataclass(frozen=True, kw_only=True)
class QuestionSet:
    """Questions in three disjoint splits, and how their answers are read and scored (archon.protocols.Benchmark)."""

    name: str
    extractor: str
    scorer: Scorer
    splits: Mapping[Split, tuple[Question, ...]]
    source: str
    """Where the questions come from, for messages and reports."""

    def questions(self, split: Split) -> Sequence[Question]:
        """The questions of one split. Raises ConfigError where it has none."""
        if split not in SPLITS:
            raise UnknownNameError("split", str(split), SPLITS)
        found = self.splits.get(split, ())
        if not found:
            counts = ", ".join(f"{name} {len(self.splits.get(name, ()))}" for name in SPLITS)
            raise ConfigError(f"benchmark {self.name!r}: no question of {self.source} is in split {split!r} ({counts})")
        return found

    def fingerprint(self) -> str:
        """16 hex digits that change with any question, reference, hidden test, split or way of reading answers."""
        rows = [
            [
                split,
                [message.to_dict() for message in question.messages],
                question.reference,
                *([list(question.meta["tests"])] if "tests" in question.meta else []),
            ]
            for split in SPLITS
            for question in self.splits.get(split, ())
        ]
        return stable_hash([self.extractor, rows])


class SizeOptions(BaseModel):
    """Options all benchmarks take."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    seed: int = 0
    """Chooses the questions (ledger) or their assignment to splits (files)."""
    search: int | None = Field(default=None, ge=0)
    """How many questions the search sees; None = the benchmark's own number."""
    selection: int | None = Field(default=None, ge=0)
    """How many questions the finalists compete on; None = the benchmark's own number."""
    held_out: int | None = Field(default=None, ge=0)
    """How many questions confirm the winner; None = the benchmark's own number."""
    limit: int | None = Field(default=None, ge=1)
    """Upper bound on each of the three."""

    def sizes(self, usual: Mapping[Split, int | None]) -> dict[Split, int | None]:
        """Questions wanted in each split; None = all there are. `usual` holds where the user gave no number."""
        given: dict[Split, int | None] = {
            "search": self.search,
            "selection": self.selection,
            "held_out": self.held_out,
        }
        return {split: self._limited(usual[split] if given[split] is None else given[split]) for split in SPLITS}

    def _limited(self, size: int | None) -> int | None:
        return size if self.limit is None else min(self.limit if size is None else size, self.limit)

    def explicit(self) -> dict[Split, int]:
        """The split sizes the user asked for by number, so that too few questions is an error and not a surprise."""
        given = {split: getattr(self, split) for split in SPLITS}
        return {split: min(size, self.limit or size) for split, size in given.items() if size is not None}


class FileOptions(SizeOptions):
    """Options of benchmarks that read a file."""

    path: Path
    """A JSONL file, plain or gzipped (`.gz`)."""
    instruction: str = ""
    """Words added after every question, e.g. in which form to answer."""


def read_options(model: type[M], benchmark: str, options: Mapping[str, Any], hint: str = "") -> M:
    """The options, checked.

    Raises:
        ConfigError: an option is unknown, missing or of the wrong type; the message names it and lists the known ones.
    """
    unknown = [name for name in options if name not in model.model_fields]
    if unknown:
        raise UnknownNameError(f"option of benchmark {benchmark!r}:", unknown[0], model.model_fields)
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        if first["type"] == "missing":
            flag = " (--data)" if name == "path" else ""
            raise ConfigError(f"benchmark {benchmark!r} needs the option {name!r}{flag}: {hint}") from None
        raise ConfigError(
            f"benchmark {benchmark!r}: option {name!r}: {first['msg']}, got {first['input']!r:.80}"
        ) from None


def question_id(messages: Sequence[Message]) -> str:
    """12 hex digits that depend on what is asked alone (without added instructions), whatever file it stands in."""
    return stable_hash([message.to_dict() for message in messages], 12)
