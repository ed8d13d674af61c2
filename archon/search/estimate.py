"""The dry run: what a search will call and cost at most, and how small a difference its questions can show.

Calls are those the systems plan in the normal case, with nothing shared between systems; the cache makes the real
number smaller, often by far. Tokens are a guess from the length of the questions; it says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from random import Random
from statistics import fmean
from typing import Any

from archon.errors import ConfigError
from archon.evals.metrics import smallest_detectable
from archon.models import ModelSpec, ModelTable
from archon.search.baselines import VOTERS, singles
from archon.search.build import Blueprint, Infeasible, Memo, blueprint
from archon.search.enumeration import drawn
from archon.search.loading import singles_of
from archon.search.settings import SearchSettings
from archon.search.space import tops
from archon.types import Question, derived_seed

SAMPLE = 200
"""Random systems whose plans stand for the space."""
USUAL_ANSWER_TOKENS = 300
"""Length of an answer."""
ZOO_ANSWER_TOKENS = 31
"""The same for models of the zoo: the mean of abacus, clerk and till on `ledger`, greedy (30.6 to 30.9)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a search is expected to take with no help from the cache, which makes it less."""

    trials: int
    questions: dict[str, int]
    """By split."""
    calls_per_question: float
    """Mean over random systems of the space."""
    search_calls: int
    """Without any cache hit; bounded by `max_calls`."""
    confirm_calls: int
    tokens: int
    """Of both together."""
    usd: float | None
    """None = a price is unknown."""
    unpriced: tuple[str, ...]
    """Models whose price is unknown."""
    detectable_search: float | None
    """Smallest true difference that the search questions show in four searches of five; None = none at all."""
    detectable_held_out: float | None
    assumptions: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def dry_run(settings: SearchSettings) -> Estimate:
    """Estimates a search without calling anything. Raises ConfigError when no system of the space is feasible."""
    space, benchmark = settings.space, settings.benchmark
    sizes = {split: len(benchmark.questions(split)) for split in ("search", "selection", "held_out")}
    drafts = _sample(settings)
    per_system = fmean(draft.calls for draft in drafts)
    alone = len(singles(space))
    before = alone + VOTERS + len(singles_of(space)) + _ranking_calls(settings)
    search = sizes["search"] * (before + settings.trials * per_system)
    if settings.max_calls is not None:
        search = min(search, settings.max_calls)
    most = max(draft.calls for draft in drafts)
    confirm = sizes["selection"] * (alone + settings.finalists * per_system) + sizes["held_out"] * (2 * most + 1)
    tokens = _tokens_per_call(settings, benchmark.questions("search"))
    usd, unpriced = _usd_per_call(settings.table, tokens)
    calls = round(search + confirm)
    return Estimate(
        settings.trials,
        sizes,
        per_system,
        round(search),
        round(confirm),
        calls * sum(tokens),
        None if usd is None else usd * calls,
        unpriced,
        smallest_detectable(sizes["search"]),
        smallest_detectable(sizes["held_out"]),
        (
            "no call is found in the cache (systems that share their drafts share their calls, so it will be less)",
            f"a call reads {tokens[0]} tokens and writes {tokens[1]}, the mean over the models",
            "every model of the table is called equally often",
            "confirming: finalists of average size, a winner of the largest size, a vote that costs the same",
        ),
    )


def _sample(settings: SearchSettings) -> list[Blueprint]:
    rng = Random(derived_seed(settings.seed, "dry run"))
    memo: Memo = {}
    found: list[Blueprint] = []
    for _ in range(5 * SAMPLE):
        if len(found) == SAMPLE:
            break
        try:
            found.append(blueprint(settings.space, drawn(settings.space, rng), None, memo))
        except Infeasible:
            continue
    if not found:
        raise ConfigError(
            f"space {settings.space.name!r}: no system is within its limits; `archon space show` says why"
        )
    return found


def _ranking_calls(settings: SearchSettings) -> int:
    """Calls a search question for the power ranking of fusers: an ensemble each draws on, and one fusion a model."""
    space = settings.space
    used = {top.by for family in space.families for top in tops(family)}
    return len(space.rankings.get("fusers", ())) + 10 if "fusers" in used else 0


def _tokens_per_call(settings: SearchSettings, questions: Sequence[Question]) -> tuple[int, int]:
    """(read, written) by a usual call: a question, half the time with some drafts, and an answer."""
    asked = fmean(sum(len(message.text) for message in question.messages) for question in questions) / 4
    written = fmean(_answer_tokens(spec) for spec in settings.table.values())
    return round(asked + written), round(written)


def _answer_tokens(spec: ModelSpec) -> int:
    """How long a model's answers usually are, by its prompt pack, within its bound."""
    usual = ZOO_ANSWER_TOKENS if spec.pack == "zoo" else USUAL_ANSWER_TOKENS
    return min(usual, spec.max_tokens or usual)


def _usd_per_call(table: ModelTable, tokens: tuple[int, int]) -> tuple[float | None, tuple[str, ...]]:
    prices = {}
    for model, spec in table.items():
        prices[model] = spec.known_price
    unpriced = tuple(model for model, price in prices.items() if price is None)
    if unpriced:
        return None, unpriced
    return fmean(price.cost(*tokens) for price in prices.values() if price), ()
