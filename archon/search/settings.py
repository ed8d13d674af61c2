"""What a search is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archon.errors import ConfigError, UnknownNameError
from archon.evals.runner import Execute
from archon.models import ModelTable
from archon.protocols import Benchmark, Sandbox
from archon.search.loading import table_of
from archon.search.samplers import sampler_names
from archon.search.space import Space
from archon.types import stable_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """A search: where, on what, how long."""

    space: Space
    benchmark: Benchmark
    out: Path
    """Folder of the study: log, cache, report. Made where it is missing."""
    models: ModelTable = field(default_factory=ModelTable)
    """Rows that win over the space's own."""
    trials: int = 40
    """Systems of the space to measure, beside the single models and votes; ≥ 1."""
    max_calls: int | None = None
    """Model calls the search may make, confirming apart; cache hits are free. None = no bound."""
    max_usd: float | None = None
    """US dollars the search may spend, confirming apart."""
    confirm_calls: int | None = None
    """Calls for confirming: finalists on *selection*, the winner and its baselines on *held-out*."""
    confirm_usd: float | None = None
    seed: int = 0
    sampler: str = "tpe"
    batch: int = 4
    """Systems proposed before the first of them is told; a larger batch knows less."""
    finalists: int = 8
    """Best systems of the search split that compete on *selection*."""
    cost_weight: float = 0.0
    """λ: quality given up for one US dollar a question; 0 = cost only breaks ties."""
    tolerance: float = 0.0
    """The winner is the cheapest finalist that is at most so many standard errors (of the paired difference) below the
    best one on *selection*; 0 = the best, the cheapest among equals; 1 = the one-standard-error rule."""
    concurrency: int = 32
    """Questions under way at once."""
    deadline: float | None = None
    """Seconds a question may take; one that takes longer scores 0, so the machine's speed then plays a part."""
    cache: Path | None = None
    """The call cache; None = `cache.sqlite` in `out`."""
    resume: bool = False
    """Continue the study in `out`."""
    sandbox: Sandbox | None = None
    execute: Execute | None = None
    """What runs an architecture on a question; None = the engine's executor, or a quick one where all models replay."""

    def __post_init__(self) -> None:
        for name, least in (("trials", 1), ("batch", 1), ("finalists", 1), ("concurrency", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"search: {name} must be at least {least}, got {getattr(self, name)}")
        if self.sampler not in sampler_names():
            raise UnknownNameError("sampler", self.sampler, sampler_names())
        for name in ("cost_weight", "tolerance"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"search: {name} must be a number ≥ 0, got {getattr(self, name)}")

    @property
    def table(self) -> ModelTable:
        """Every model the space may use."""
        return table_of(self.space, self.models)

    @property
    def identity(self) -> dict[str, str]:
        """Hashes and values of all that decides which systems are tried and what they score; a study is resumed only
        under the same ones."""
        chosen = {
            "space": stable_hash(self.space.model_dump(mode="json")),
            "benchmark": self.benchmark.fingerprint(),
            "models": stable_hash(self.table.to_list()),
        }
        plain = ("seed", "sampler", "batch", "cost_weight", "deadline")
        return chosen | {name: str(getattr(self, name)) for name in plain}

    @property
    def extent(self) -> dict[str, str]:
        """How far the search goes and what is then chosen; may change on resume until confirming has begun."""
        plain = ("trials", "max_calls", "max_usd", "finalists", "tolerance")
        return {name: str(getattr(self, name)) for name in plain}


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a search stands."""

    phase: str
    """baselines, ranking, search, selection, held_out."""
    done: int
    """Systems measured in this phase."""
    total: int
    questions_done: int
    """Of the system being measured."""
    questions: int
    best: float | None
    """Best quality on the search split so far."""
    best_name: str
    calls: int
    """Really made by this process."""
    hits: int
    usd: float | None
    """Spent by this process; None = a price is unknown."""
    seconds: float
    """Since this process began."""
    seconds_left: float | None
    """Of this phase, by its mean pace so far; None = not known yet."""


ProgressListener = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found."""

    summary: Mapping[str, Any]
    """What `--json` writes; every quality is from the held-out split."""
    out: Path
    verdict: str
    """In plain words."""
    winner: Path
    """winner.yaml."""
    report: Path
    """report.html."""
