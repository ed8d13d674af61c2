"""One process at work on a study: measures architectures, each once, and keeps the books."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archon.architecture import Architecture
from archon.budget import Budget
from archon.clients.stack import ClientStack
from archon.clients.store import CacheStore
from archon.errors import ConfigError
from archon.evals.evaluation import Outcome
from archon.evals.runner import Execute, evaluate
from archon.search.settings import Progress, ProgressListener, SearchSettings
from archon.search.store import Measurement, Study
from archon.types import Split

SEARCHING = ("baselines", "ranking", "search")
"""Phases that the search's budget pays; the others are paid by the one for confirming."""


@dataclass(slots=True)
class Session:
    """What the phases of a search share."""

    settings: SearchSettings
    study: Study
    stack: ClientStack
    cache: CacheStore
    listener: ProgressListener
    execute: Execute
    budget: Budget | None = None
    """Of the running phase."""
    stopped: str | None = None
    """Why the last measurement was not finished."""
    _books: _Books = field(default_factory=lambda: _Books())
    _phase: _Phase = field(default_factory=lambda: _Phase())

    def begin(self, phase: str, total: int) -> None:
        """Starts a phase of `total` measurements, for the progress shown."""
        self._phase = _Phase(phase, total)
        self._tell(0, 0)

    async def measure(
        self, split: Split, architecture: Architecture, name: str, chosen: Mapping[str, Any] | None = None
    ) -> Measurement | None:
        """A measurement, from the log where it was made before. None = the budget ended it; `stopped` says how."""
        known = self.study.find(split, architecture.hash)
        if known is None:
            known = await self._made(split, architecture, name, chosen or {})
        if known is not None:
            self._phase.done += 1
            self._note_best(known)
            self._tell(0, 0)
        return known

    async def needed(self, split: Split, architecture: Architecture, name: str) -> Measurement:
        """A measurement the search cannot do without. Raises ConfigError when the budget ends it."""
        found = await self.measure(split, architecture, name)
        if found is None:
            which = "max" if self._phase.name in SEARCHING else "confirm"
            raise ConfigError(
                f"the budget ended while {name!r} was measured on {split}: {self.stopped}; raise --{which}-calls or "
                f"--{which}-usd (--dry-run says what is needed); what was measured is kept in the cache"
            )
        return found

    def calls_made(self) -> int:
        """Answers received since the study began, over all its sessions. Those lost in a kill are not among them, nor
        those that another search put into a cache both share."""
        return max(self.cache.made(), sum(each.evaluation.spend.calls for each in self.study.order))

    async def _made(
        self, split: Split, architecture: Architecture, name: str, chosen: Mapping[str, Any]
    ) -> Measurement | None:
        settings = self.settings
        questions = settings.benchmark.questions(split)
        asked = 0

        def on_result(outcome: Outcome) -> None:
            nonlocal asked
            asked += 1
            self._books.add(outcome)
            self._tell(asked, len(questions))

        evaluation = await evaluate(
            architecture,
            settings.benchmark,
            questions,
            self.stack,
            seed=settings.seed,
            concurrency=settings.concurrency,
            budget=self.budget,
            on_result=on_result,
            deadline=settings.deadline,
            sandbox=settings.sandbox,
            execute=self.execute,
        )
        self.stopped = evaluation.stopped
        if evaluation.outage:
            raise ConfigError(
                f"an endpoint dropped out while {name!r} was measured on {split}: {evaluation.outage}; nothing of this "
                "measurement was kept but its answers in the cache: --resume repeats it"
            )
        if not evaluation.complete:
            return None
        before = self.study.find("search", architecture.hash)
        if evaluation.silent and before and not before.evaluation.silent:
            raise ConfigError(
                f"{name!r} answered while searching and gave no answer to any of the {len(questions)} {split} ones: "
                f"{evaluation.errors.most_common(1)[0][0]}; nothing of this measurement was kept: --resume repeats it"
            )
        made = Measurement(self._phase.name, split, architecture, name, evaluation, chosen)
        self.study.add(made)
        return made

    def _note_best(self, measured: Measurement) -> None:
        quality = measured.quality
        if measured.split != "search" or quality is None:
            return
        if self._books.best is None or quality > self._books.best:
            self._books.best, self._books.best_name = quality, measured.name

    def _tell(self, asked: int, questions: int) -> None:
        phase, books = self._phase, self._books
        self.listener(
            Progress(
                phase.name,
                phase.done,
                phase.total,
                asked,
                questions,
                books.best,
                books.best_name,
                books.calls,
                books.hits,
                books.usd,
                time.monotonic() - books.began,
                phase.seconds_left(asked / questions if questions else 0.0),
            )
        )


@dataclass(slots=True)
class _Books:
    """Sums of this process."""

    began: float = field(default_factory=time.monotonic)
    calls: int = 0
    hits: int = 0
    usd: float | None = 0.0
    best: float | None = None
    best_name: str = ""

    def add(self, outcome: Outcome) -> None:
        """Adds a question."""
        self.calls += outcome.spend.calls
        self.hits += outcome.cached_calls
        paid = outcome.spend.cost_usd
        self.usd = None if self.usd is None or paid is None else self.usd + paid


@dataclass(slots=True)
class _Phase:
    name: str = ""
    total: int = 0
    done: int = 0
    began: float = field(default_factory=time.monotonic)

    def seconds_left(self, part: float) -> float | None:
        """By the mean pace so far; `part` of the running measurement is done."""
        finished = self.done + part
        if finished <= 0:
            return None
        return (time.monotonic() - self.began) / finished * max(0.0, self.total - finished)
