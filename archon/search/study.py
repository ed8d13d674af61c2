"""The search: baselines, power rankings, proposals measured on the search split, then the confirmation.

Systems are proposed in batches of a fixed size, measured one after the other and told in the order they were asked for;
what a model answers first plays no part. So a seed gives one winner, under any concurrency and over any number of
interruptions: a resumed search walks the same way again and finds in the log what was measured already.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from archon import executor
from archon.budget import Budget
from archon.clients.stack import ClientStack
from archon.clients.store import CacheStore
from archon.errors import ConfigError
from archon.evals.runner import Execute
from archon.journal import Journal
from archon.search.baselines import measure_baselines
from archon.search.build import Rankings
from archon.search.confirm import confirm
from archon.search.objective import label, objective
from archon.search.proposer import Proposal, Proposer
from archon.search.ranking import measure_rankings
from archon.search.recorded import RecordedExecutor
from archon.search.samplers import make_sampler
from archon.search.session import Session
from archon.search.settings import ProgressListener, SearchResult, SearchSettings
from archon.search.store import Measurement, Study
from archon.types import derived_seed


async def search(settings: SearchSettings, progress: ProgressListener = lambda _: None) -> SearchResult:
    """Searches, confirms the winner and writes `winner.yaml`, `leaderboard.csv`, `trials.jsonl` and `report.html`.

    Cancelling it (Ctrl-C) leaves a study that `resume=True` continues.

    Raises:
        ConfigError: something the user set is wrong, or the budget does not cover the baselines.
    """
    from archon.search.output import write_results

    _check(settings)
    study = Study(settings.out, settings.identity, settings.extent, resume=settings.resume)
    try:
        cache = CacheStore(settings.cache or settings.out / "cache.sqlite", study.id)
        async with ClientStack(settings.table, cache=cache) as stack:
            _open_models(settings, stack)
            session = Session(settings, study, stack, cache, progress, _executor(settings, stack))
            await _searched(session)
            findings = await confirm(session)
            return write_results(session, findings)
    finally:
        study.close()


def _check(settings: SearchSettings) -> None:
    """Fails before anything is spent where a split is empty or the sampler is unknown."""
    for split in ("search", "selection", "held_out"):
        if not settings.benchmark.questions(split):
            raise ConfigError(f"benchmark {settings.benchmark.name!r}: split {split!r} has no question")
    make_sampler(settings.sampler, settings.space, settings.seed)


def _open_models(settings: SearchSettings, stack: ClientStack) -> None:
    """Opens every model of the space, so that a missing key, extra or price ends the search before its first call and
    not at the first system that needs it."""
    bounded = settings.max_usd is not None or settings.confirm_usd is not None
    unpriced = [model for model in settings.table if stack.price(model) is None]
    if bounded and unpriced:
        raise ConfigError(
            f"a budget in US dollars needs every price, and the price is unknown of {', '.join(unpriced)}; "
            "add `price: {prompt: …, completion: …}` (US dollars per million tokens) to the model's row"
        )


def _executor(settings: SearchSettings, stack: ClientStack) -> Execute:
    if settings.execute is not None:
        return settings.execute
    recorded = all(getattr(stack.transport(model), "recorded", False) for model in settings.table)
    return RecordedExecutor() if recorded else executor.run


async def _searched(session: Session) -> None:
    """Everything the search's budget pays. Done once a study."""
    journal = _journal(session.settings)
    session.budget = _budget(session, journal)
    try:
        await measure_baselines(session)
        rankings = await measure_rankings(session)
        ended = session.study.events.get("search_ended")
        reason = str(ended["reason"]) if ended else None
        reason = await _Trials(session, rankings or session.settings.space.rankings).run(reason)
        session.study.mark("search_ended", reason=reason, calls=session.calls_made())
    finally:
        session.budget = None
        if journal:
            journal.close()


def _journal(settings: SearchSettings) -> Journal | None:
    return None if settings.max_usd is None else Journal(settings.out / "budget.jsonl")


def _budget(session: Session, journal: Journal | None) -> Budget | None:
    """The search's budget, less what earlier sessions used. Dollars are kept in a journal, so a call lost in a kill
    counts with its worst case; calls are counted by the answers stored, so that an interrupted search ends where an
    uninterrupted one does."""
    settings, made = session.settings, session.calls_made()
    usd = Budget(usd=settings.max_usd, journal=journal) if journal else None
    if settings.max_calls is None:
        return usd
    return Budget(calls=max(0, settings.max_calls - made), parent=usd)


class _Trials:
    """Proposes, measures, tells."""

    def __init__(self, session: Session, rankings: Rankings) -> None:
        settings = session.settings
        self.session = session
        self.earlier = [each.hash for each in session.study.of("search")]
        sampler = make_sampler(settings.sampler, settings.space, settings.seed)
        rng = Random(derived_seed(settings.seed, "proposer"))
        known = {m.hash: self._value(m) for m in session.study.of("baselines", "ranking") if m.split == "search"}
        self.proposer = Proposer(settings.space, sampler, rng, rankings, known)
        self.done = 0

    async def run(self, ended: str | None) -> str:
        """Measures until the trials, the budget or the space are used up; says which.

        Args:
            ended: why the search of an earlier session ended, after the trials in the log.
        """
        trials = self.session.settings.trials
        self.session.begin("search", trials)
        while self.done < trials:
            if ended and self.done == len(self.earlier):
                return ended
            batch = self.proposer.ask(min(self.session.settings.batch, trials - self.done))
            if not batch:
                return "every system of the space was measured"
            measured = await self._measured(batch)
            for proposal, each in zip(batch, measured, strict=False):
                self.proposer.tell(proposal, self._value(each))
            if len(measured) < len(batch):
                return self.session.stopped or "the budget ended"
        return f"all {trials} trials were made"

    async def _measured(self, batch: Sequence[Proposal]) -> list[Measurement]:
        """Measurements of a batch, in its order; fewer where the budget ended."""
        found: list[Measurement] = []
        for proposal in batch:
            self._check_replay(proposal)
            if self.done >= len(self.earlier) and "search_ended" in self.session.study.events:
                break
            name = label(proposal.chosen)
            measured = await self.session.measure("search", proposal.architecture, name, proposal.chosen)
            if measured is None:
                break
            found.append(measured)
            self.done += 1
        return found

    def _check_replay(self, proposal: Proposal) -> None:
        """A resumed search must walk the way it walked before."""
        expected = self.earlier[self.done] if self.done < len(self.earlier) else proposal.architecture.hash
        if expected != proposal.architecture.hash:
            raise ConfigError(
                f"{self.session.settings.out}: cannot resume: trial {self.done + 1} was {expected} and would now be "
                f"{proposal.architecture.hash}; the engine or Optuna was changed since; start in a new folder"
            )

    def _value(self, measured: Measurement) -> float | None:
        """What the sampler is told: quality − λ · list cost; None = nothing."""
        return objective(measured, self.session.settings.cost_weight)
