"""The study on disk: `trials.jsonl`, one line a measurement, appended and synced the moment it is done.

The log is the truth: a resumed search walks the same way and finds its measurements here in place of making them. The
first line holds the settings; a later session under different ones is refused, but for a search that is to go further
(more trials, a larger budget) and whose confirmation has not begun. A line torn by a kill is cut off.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from archon.architecture import Architecture
from archon.errors import ConfigError
from archon.evals.evaluation import Evaluation, Outcome
from archon.types import Score, Split, Usage

VERSION = 2
LOG = "trials.jsonl"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One architecture, asked all questions of one split."""

    phase: str
    """Why it was measured first: baselines, ranking, search, selection, held_out."""
    split: Split
    architecture: Architecture
    name: str
    evaluation: Evaluation
    chosen: Mapping[str, Any] = field(default_factory=dict)
    """The assignment, for systems of the space."""

    @property
    def hash(self) -> str:
        """Of the architecture."""
        return self.architecture.hash

    @property
    def quality(self) -> float | None:
        """Mean score; None where nothing could be scored, which is not 0 and is compared with nothing."""
        return self.evaluation.mean

    @property
    def usd(self) -> float | None:
        """List cost of a question; None = a price is unknown."""
        return self.evaluation.usd_per_question

    @property
    def calls(self) -> float:
        """List calls of a question."""
        return self.evaluation.calls_per_question

    @property
    def cost_key(self) -> tuple[float, float, str]:
        """Orders by list cost, then calls, then hash; unknown prices stand behind known ones."""
        return (float("inf") if self.usd is None else self.usd, self.calls, self.hash)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what people want to see, and all that `from_dict` needs."""
        evaluation = self.evaluation
        return {
            "phase": self.phase,
            "split": self.split,
            "hash": self.hash,
            "name": self.name,
            "quality": evaluation.mean,
            "ci95": list(evaluation.ci95) if evaluation.ci95 else None,
            "usd": self.usd,
            "calls": self.calls,
            "latency": evaluation.latency,
            "cached_calls": evaluation.cached_calls,
            "spend": _usage(evaluation.spend),
            "list": _usage(evaluation.list_usage),
            "errors": dict(evaluation.errors),
            "chosen": {name: list(v) if isinstance(v, tuple) else v for name, v in self.chosen.items()},
            "architecture": self.architecture.to_dict(),
            "outcomes": [_outcome(outcome) for outcome in evaluation.outcomes],
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Measurement:
        """Reads `to_dict`'s form. Sums per question are kept as sums: they hang on the first outcome."""
        listed, spent = Usage(**raw["list"]), Usage(**raw["spend"])
        latency = raw["latency"]
        outcomes = [
            Outcome(row[0], Score(row[1]), latency=latency, error=row[2] if row[2:] else None)
            for row in raw["outcomes"]
        ]
        if outcomes:
            sums = {"list_usage": listed, "spend": spent, "cached_calls": raw["cached_calls"]}
            outcomes[0] = replace(outcomes[0], **sums)
        chosen = {name: tuple(v) if isinstance(v, list) else v for name, v in raw["chosen"].items()}
        made = Architecture.from_dict(raw["architecture"])
        return cls(raw["phase"], raw["split"], made, raw["name"], Evaluation(tuple(outcomes), len(outcomes)), chosen)


def _outcome(outcome: Outcome) -> list[Any]:
    """[question, score], and the error where there is one."""
    row = [outcome.question_id, outcome.score.value]
    return row if outcome.error is None else [*row, outcome.error]


def _usage(usage: Usage) -> dict[str, Any]:
    names = ("calls", "prompt_tokens", "completion_tokens", "cached_tokens", "cost_usd", "seconds")
    return {name: getattr(usage, name) for name in names}


class Study:
    """The folder of a search. One process at a time.

    Args:
        out: the folder.
        identity: what decides the measurements (`SearchSettings.identity`).
        extent: how far it goes (`SearchSettings.extent`).
        resume: whether a study found there is continued.

    Raises:
        ConfigError: the folder holds a study and `resume` is off, or one with other settings, or is in use.
    """

    def __init__(
        self, out: Path, identity: Mapping[str, str], extent: Mapping[str, str] | None = None, *, resume: bool
    ) -> None:
        self.out = out
        self._path = out / LOG
        try:
            out.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigError(f"{out}: cannot hold a study ({error.strerror}); name another folder") from None
        self._lock()
        self.events: dict[str, dict[str, Any]] = {}
        """Marks of the way, by name: settings, search_begun, search_ended, …"""
        self.measured: dict[tuple[Split, str], Measurement] = {}
        self.order: list[Measurement] = []
        try:
            self._read(resume)
            self._check(identity)
            self._extend(dict(extent or {}))
        except BaseException:
            self.close()
            raise

    @property
    def id(self) -> str:
        """Names the study among those that share a cache."""
        return str(self.events["settings"]["id"])

    def find(self, split: Split, architecture_hash: str) -> Measurement | None:
        """What is known of an architecture on a split."""
        return self.measured.get((split, architecture_hash))

    def add(self, measurement: Measurement) -> None:
        """Keeps a measurement; on disk when this returns."""
        self._append(measurement.to_dict())
        self._remember(measurement)

    def mark(self, event: str, **facts: Any) -> dict[str, Any]:
        """Keeps a mark of the way, once; returns the facts of the first time."""
        if event not in self.events:
            self._append({"event": event, **facts})
            self.events[event] = facts
        return self.events[event]

    def of(self, *phases: str) -> Iterator[Measurement]:
        """Measurements of these phases, in the order they were made."""
        return (each for each in self.order if each.phase in phases)

    def close(self) -> None:
        """Frees the folder. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise ConfigError(f"{self.out}: another search is running there; name another folder, or wait") from None

    def _read(self, resume: bool) -> None:
        raw = self._path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) < len(raw):
            os.truncate(self._path, len(whole))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    f"{self._path}: line {number} cannot be read ({error}); name another folder"
                ) from None
        if whole and not resume:
            self._begin_anew()

    def _begin_anew(self) -> None:
        """Forgets a search that ended before its first measurement, as after a mistake in the set-up."""
        if self.order:
            raise ConfigError(f"{self.out} already holds a search; continue it with --resume, or name another folder")
        os.truncate(self._path, 0)
        self.events.clear()

    def _take(self, row: dict[str, Any]) -> None:
        if "event" in row:
            self._happened(row.pop("event"), row)
        else:
            self._remember(Measurement.from_dict(row))

    def _happened(self, event: str, facts: dict[str, Any]) -> None:
        self.events[event] = facts
        if event == "extent":
            self.events.pop("search_ended", None)

    def _remember(self, measurement: Measurement) -> None:
        self.measured[measurement.split, measurement.hash] = measurement
        self.order.append(measurement)

    def _check(self, identity: Mapping[str, str]) -> None:
        known = self.mark("settings", version=VERSION, id=secrets.token_hex(8), identity=dict(identity))
        if known["version"] != VERSION:
            raise ConfigError(f"{self.out}: made by another version (format {known['version']}); name another folder")
        changed = [name for name, value in identity.items() if known["identity"].get(name) != value]
        if changed:
            raise ConfigError(
                f"{self.out}: cannot resume, these settings differ from the study's: {', '.join(changed)}; "
                "give the same ones, or name another folder"
            )

    def _extend(self, extent: dict[str, str]) -> None:
        """Takes a new extent on; the search, if it had ended, goes on."""
        known = self.events.get("extent", extent)
        changed = [name for name, value in extent.items() if known.get(name) != value]
        if changed and any(each.split != "search" for each in self.order):
            raise ConfigError(
                f"{self.out}: cannot resume with other {', '.join(changed)}: the winner is being confirmed, and a "
                "second look at those questions would flatter it; name another folder (--cache with this one's "
                "cache.sqlite repeats no call)"
            )
        made = sum(each.phase == "search" for each in self.order)
        if int(extent.get("trials", made)) < made:
            raise ConfigError(f"{self.out}: cannot resume with {extent['trials']} trials: {made} were made already")
        if changed or "extent" not in self.events:
            self._append({"event": "extent", **extent})
            self._happened("extent", extent)

    def _append(self, row: Mapping[str, Any]) -> None:
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        written = os.write(self._file, line)
        if written < len(line):
            raise ConfigError(f"{self._path}: cannot be written (disk full); free some space and resume")
        os.fsync(self._file)
