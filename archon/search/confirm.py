"""Confirmation: finalists compete on questions the sampler never saw, the winner is then compared with its baselines on
questions nobody saw.

*selection*: the best systems of the search split, and every single model. The winner is the best finalist; of equals
the cheapest (list cost, then calls, then hash). With a tolerance t > 0 it is the cheapest finalist whose paired
difference to the best one is at most t standard errors. The best single model, greedy or sampled, is chosen here too.
All are compared on the questions that could be scored for every one of them; one that could be scored on fewer than
half the questions of the others does not compete.

*held-out*: touched once, by the winner, that single model, and the equal-cost vote: k samples of that model, where
k = ⌊list cost of the winner / list cost of one sample⌋ and at least 1, both as measured on *selection*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, pvariance

from archon.budget import Budget
from archon.errors import ConfigError
from archon.evals.metrics import Difference
from archon.journal import Journal
from archon.search.baselines import single, single_name, singles, vote
from archon.search.objective import best_first
from archon.search.session import SEARCHING, Session
from archon.search.store import Measurement
from archon.search.verdict import verdict


@dataclass(frozen=True, slots=True)
class Findings:
    """What the confirmation found."""

    finalists: tuple[Measurement, ...]
    """On *selection*, best of the search split first."""
    singles: tuple[Measurement, ...]
    """On *selection*."""
    winner: Measurement
    """On *held-out*, like the next two."""
    best_single: Measurement
    equal_cost_vote: Measurement
    samples: int
    """k of the vote."""
    equal_by: str
    """What is equal between winner and vote: list cost, or calls where a price is unknown or nothing."""
    vs_single: Difference
    vs_vote: Difference
    verdict: str


async def confirm(session: Session) -> Findings:
    """Chooses the winner and measures it. Raises ConfigError when the budget for confirming does not suffice."""
    settings = session.settings
    journal = None if settings.confirm_usd is None else Journal(settings.out / "confirm-budget.jsonl")
    spent = int(session.study.events["search_ended"]["calls"])
    session.budget = _budget(settings.confirm_calls, settings.confirm_usd, session.calls_made() - spent, journal)
    try:
        return await _confirmed(session)
    finally:
        session.budget = None
        if journal:
            journal.close()


async def _confirmed(session: Session) -> Findings:
    settings = session.settings
    chosen = _finalists(session)
    alone = singles(settings.space)
    session.begin("selection", len(chosen) + len(alone))
    finalists = [await session.needed("selection", each.architecture, each.name) for each in chosen]
    rivals = [await session.needed("selection", made, single_name(model, made)) for model, made in alone.values()]
    winner = pick_winner(finalists, settings.tolerance)
    rival = pick_winner(rivals, 0.0)
    return await _compared(session, tuple(finalists), tuple(rivals), winner, rival)


def pick_winner(finalists: Sequence[Measurement], tolerance: float) -> Measurement:
    """The best finalist on the questions scored for all of them, or the cheapest of those within `tolerance` standard
    errors of it. Raises ConfigError where there is no such question."""
    running = _scorable(finalists)
    common = [q for q in running[0].evaluation.scores if all(q in each.evaluation.scores for each in running)]
    if not common:
        raise ConfigError("no selection question could be scored for every finalist; the scorer fails")

    def scores(each: Measurement) -> list[float]:
        return [each.evaluation.scores[question] for question in common]

    best = min(running, key=lambda each: (-fmean(scores(each)), *each.cost_key))
    near = [each for each in running if _within(scores(best), scores(each), tolerance)]
    return min(near, key=lambda each: each.cost_key) if tolerance else best


def _scorable(measured: Sequence[Measurement]) -> list[Measurement]:
    """Those that were scored on at least half as many questions as the one scored on most."""
    most = max(len(each.evaluation.scores) for each in measured)
    return [each for each in measured if 2 * len(each.evaluation.scores) >= most]


def equal_samples(winner: Measurement, sample: Measurement) -> tuple[int, str]:
    """How many samples cost what the winner costs, and by which measure."""
    if winner.usd is not None and sample.usd:
        # The small excess keeps 3.0000000001 / 1 = 3 and 2.9999999999 / 1 = 3: sums of floats differ in the last digit.
        return max(1, int(winner.usd / sample.usd + 1e-9)), "list cost"
    return max(1, int(winner.calls / max(sample.calls, 1.0) + 1e-9)), "calls"


async def _compared(
    session: Session,
    finalists: tuple[Measurement, ...],
    rivals: tuple[Measurement, ...],
    winner: Measurement,
    rival: Measurement,
) -> Findings:
    """Measures winner, single model and vote on *held-out*."""
    model, temperature = rival.architecture.model_ids[0], session.settings.space.temperature
    sampled = next(each for each in rivals if each.hash == single(model, temperature).hash)
    samples, equal_by = equal_samples(winner, sampled)
    crowd = vote([model], samples, temperature)
    session.begin("held_out", 3)
    best = await session.needed("held_out", winner.architecture, winner.name)
    alone = await session.needed("held_out", rival.architecture, rival.name)
    voted = await session.needed("held_out", crowd, f"{model}, vote of {samples}")
    vs_single, vs_vote = _difference(best, alone), _difference(best, voted)
    said = verdict(best, alone, voted, vs_single, vs_vote)
    return Findings(finalists, rivals, best, alone, voted, samples, equal_by, vs_single, vs_vote, said)


def _finalists(session: Session) -> list[Measurement]:
    """The best of everything measured on the search split, within the space's limits or a baseline of it."""
    measured = [each for each in session.study.of(*SEARCHING) if each.split == "search" and each.quality is not None]
    return best_first(measured, session.settings.cost_weight)[: session.settings.finalists]


def _difference(first: Measurement, second: Measurement) -> Difference:
    try:
        return first.evaluation.minus(second.evaluation)
    except ValueError:
        raise ConfigError(
            f"no held-out question could be scored for both {first.name!r} and {second.name!r}; the scorer fails"
        ) from None


def _within(best: Sequence[float], other: Sequence[float], tolerance: float) -> bool:
    """Whether the paired difference is at most so many of its standard errors."""
    differences = [ours - theirs for ours, theirs in zip(best, other, strict=True)]
    return fmean(differences) <= tolerance * sqrt(pvariance(differences) / len(differences))


def _budget(calls: int | None, usd: float | None, made: int, journal: Journal | None) -> Budget | None:
    """Less what earlier sessions used: calls by the answers stored, dollars by the journal."""
    dollars = None if usd is None else Budget(usd=usd, journal=journal)
    return dollars if calls is None else Budget(calls=max(0, calls - made), parent=dollars)
