"""Every stop policy on the same prompts with the same random numbers, in one process, interleaved block by block of
prompts; medians and intervals.

Speed is measured as wall time, of whole runs and of decoding alone (all but the target's reading of prompts, which no
policy changes), and apart from it counted: verification rate V and discard rate D with measured step costs give the
speed-up of decoding that the cost model predicts (2405.19715, eq. 2.1, with the cost of longer verification and of a
round added; the draft's reading of prompts is not in it).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from specdec.bounds import Bounds, bounds
from specdec.costs import Measured, measure
from specdec.dataset import Text
from specdec.decoder import Generation, SpecDecoder
from specdec.errors import SpecDecError
from specdec.paired import Cells, Interval, System, counted, counted_ratio, ratio, speed
from specdec.params import Sampling
from specdec.prompts import Prompt
from specdec.threshold import Costs
from specdec.watched import Watched

PLAIN, LEARNT = "off", "specdec++"
ADAPTIVE = ("heuristic", "confidence", "product", "svip", "adaedl", "logistic")
FIXED = tuple(f"fixed:{k}" for k in range(1, 21))
_BLOCK = 8
"""Prompts that a system decodes before the next system's turn."""


@dataclass(frozen=True, slots=True)
class Plan:
    """repeats: ≥ 5 for an interval worth the name. batch: rows that decode together. tokens: the most per prompt."""

    temperatures: tuple[float, ...] = (0.0, 0.7, 1.0)
    repeats: int = 5
    batch: int = 1
    tokens: int = 128
    seed: int = 0
    systems: tuple[str, ...] = (PLAIN, *ADAPTIVE, *FIXED)

    def __post_init__(self) -> None:
        for name in ("repeats", "batch", "tokens"):
            if getattr(self, name) < 1:
                raise SpecDecError(f"bench: {name} must be ≥ 1; got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Line:
    """One system at one temperature. speedup, V, D, pass_tokens, predicted and of_oracle are None where a foreign
    system does not tell them.

    speed: tokens a second of whole runs, prompts read and all. whole: the same over plain decoding's. speedup: of
    decoding alone, over plain decoding. V: target passes per token. D: discarded tokens per token. predicted: the cost
    model's speed-up. of_oracle: speedup / the oracle's. ahead: how much faster `specdec++` decodes (where a system does
    not tell, whole runs are compared), counted_ahead: the same by the cost model; None without a head. note: what was
    done otherwise than its name says.
    """

    system: str
    temperature: float
    tokens: int
    speed: Interval
    whole: Interval
    speedup: Interval | None
    V: float | None
    D: float | None
    pass_tokens: float | None
    predicted: Interval | None
    of_oracle: float | None
    ahead: Interval | None
    counted_ahead: Interval | None
    note: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """All lines at one temperature with the costs and bounds they are judged by; the bounds are for a rule that costs
    what reading q does."""

    temperature: float
    measured: Measured
    bounds: Bounds
    lines: tuple[Line, ...]


@dataclass(slots=True)
class _Tally:
    """What one system did: its times and counts, and what it pays for a step."""

    costs: Costs
    cells: Cells = field(default_factory=Cells)
    accepted: int = 0
    note: str = ""


def bench(
    pair: SpecDecoder,
    prompts: Sequence[Prompt],
    plan: Plan,
    foreign: Mapping[str, System] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Outcome]:
    """Measure every system of the plan, and `specdec++` where the pair has a head, at every temperature.

    foreign: systems that are not ours, by name (Hugging Face's assisted generation).
    """
    if not prompts:
        raise SpecDecError("a bench needs at least one prompt")
    ids = [pair.prompt_ids(prompt) for prompt in prompts]
    return [_at(pair, ids, plan, temperature, foreign or {}, say) for temperature in plan.temperatures]


def _at(
    pair: SpecDecoder,
    ids: Sequence[list[int]],
    plan: Plan,
    temperature: float,
    foreign: Mapping[str, System],
    say: Callable[[str], None],
) -> Outcome:
    samplings = [Sampling(temperature=temperature, max_tokens=plan.tokens, seed=plan.seed + i) for i in range(len(ids))]
    systems = {**_systems(pair, plan), **foreign}
    measured = measure(pair, batch=plan.batch, temperature=temperature)
    texts = _texts(systems[PLAIN].generate(ids, samplings), ids, samplings)
    tallies = {name: _Tally(_paid(system, measured, temperature)) for name, system in systems.items()}
    order, shuffler = list(systems), random.Random(plan.seed)
    size = max(_BLOCK, plan.batch)
    for turn in range(plan.repeats):
        for at in range(0, len(ids), size):
            # A new order each time, so that no system always runs on a machine that another has just warmed.
            shuffler.shuffle(order)
            for name in order:
                _timed(systems[name], ids[at : at + size], samplings[at : at + size], tallies[name], turn)
        say(f"temperature {temperature:g}: repetition {turn + 1}/{plan.repeats}")
    limits = bounds(pair, texts, measured.rule, plan.seed)
    lines = [_line(name, temperature, tallies, limits, name in foreign) for name in systems]
    return Outcome(temperature, measured, limits, tuple(lines))


def _systems(pair: SpecDecoder, plan: Plan) -> dict[str, System]:
    names = [PLAIN, *(name for name in plan.systems if name != PLAIN), *([LEARNT] if pair.head else [])]
    return {name: _decoder(pair, name, plan.batch) for name in dict.fromkeys(names)}


def _decoder(pair: SpecDecoder, policy: str, batch: int) -> Watched:
    head = pair.head if policy.startswith(LEARNT) else None
    return Watched(pair.target, pair.draft, policy, head=head, batch=batch)


def _timed(
    system: System, ids: Sequence[list[int]], samplings: Sequence[Sampling], tally: _Tally, repetition: int
) -> None:
    results = tally.cells.time(repetition, system, ids, samplings)
    tally.accepted += sum(result.accepted for result in results)
    tally.note = tally.note or next((result.note for result in results), "")


def _line(name: str, temperature: float, tallies: Mapping[str, _Tally], limits: Bounds, foreign: bool) -> Line:
    tally, best, plain = tallies[name], tallies.get(LEARNT), tallies[PLAIN]
    tokens, passes, drafted = (
        sum(map(sum, lines)) for lines in (tally.cells.tokens, tally.cells.passes, tally.cells.drafted)
    )
    speedup = ratio(tally.cells, plain.cells, decoding=True) if tally.cells.told else None
    return Line(
        system=name,
        temperature=temperature,
        tokens=tokens,
        speed=speed(tally.cells),
        whole=ratio(tally.cells, plain.cells),
        speedup=speedup,
        V=None if foreign else passes / tokens,
        D=None if foreign else (drafted - tally.accepted) / tokens,
        pass_tokens=None if foreign else tokens / passes,
        predicted=None if foreign else counted(tally.cells, tally.costs),
        of_oracle=speedup.median / limits.oracle if speedup else None,
        ahead=ratio(best.cells, tally.cells, decoding=tally.cells.told) if best else None,
        counted_ahead=(
            counted_ratio(best.cells, best.costs, tally.cells, tally.costs) if best and not foreign else None
        ),
        note=tally.note,
    )


def _paid(system: System, measured: Measured, temperature: float) -> Costs:
    """What a system pays for, by what it reads of each token."""
    needs = system.policy_at(temperature)[0].needs if isinstance(system, Watched) else frozenset[str]()
    if "head" in needs:
        return measured.costs
    return measured.entropies if "entropy" in needs else measured.rule if needs else measured.fixed


def _texts(results: Sequence[Generation], ids: Sequence[list[int]], samplings: Sequence[Sampling]) -> list[Text]:
    return [
        Text((*before, *result.tokens), len(before), sampling)
        for before, result, sampling in zip(ids, results, samplings, strict=True)
    ]
