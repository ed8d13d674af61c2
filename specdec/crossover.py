"""What speculation is worth at each batch size, and from which size on it is not: plain decoding beside `specdec++`.

Drafting and verifying cost more beside many rows, where a plain step is nearly free. What `specdec++` does at each size
is what was tuned with the head (`python -m specdec tune`), and is measured as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from specdec.bench import Plan
from specdec.decoder import SpecDecoder
from specdec.errors import SpecDecError
from specdec.paired import Interval, ratio, speed
from specdec.params import Sampling
from specdec.policies.specdecpp import SpecDecPP
from specdec.prompts import Prompt
from specdec.stages import BATCHES, both_ways

_BLOCK = 8
"""Prompts of a block at least; twice the batch where that is more."""
_BLOCKS = 4
"""Blocks of a repetition."""


@dataclass(frozen=True, slots=True)
class Point:
    """temperature, batch: where it was measured. threshold: h there; None where another rule stands in. most: tokens a
    round at most; 0 = plain decoding. plain, speed: tokens a second of decoding without and with the policy. decoding:
    their ratio on the same blocks of prompts. whole: that of whole runs, prompts read and all."""

    temperature: float
    batch: int
    threshold: float | None
    most: int
    plain: Interval
    speed: Interval
    decoding: Interval
    whole: Interval


def crossover(
    pair: SpecDecoder,
    prompts: Sequence[Prompt],
    plan: Plan,
    batches: Sequence[int] = BATCHES,
    say: Callable[[str], None] = lambda line: None,
) -> list[Point]:
    """One point for each of the plan's temperatures and each size. pair: with a head, which is used as it was tuned.
    prompts: not those it was tuned on; repeated where a batch needs more."""
    if pair.head is None:
        raise SpecDecError("what speculation is worth by batch size is measured with a head: give --head FOLDER")
    ids, found = [pair.prompt_ids(prompt) for prompt in prompts], list[Point]()
    for heat in plan.temperatures:
        for size in batches:
            found.append(_point(pair, ids, plan, heat, size))
            say(f"temperature {heat:g}, batch {size}: {found[-1].whole.median:.2f} ×")
    return found


def crossing(points: Sequence[Point]) -> int | None:
    """The smallest batch from which on nothing is drafted; None where drafts are made at every size measured. points:
    of one temperature."""
    off = [point.batch for point in points if point.most == 0]
    on = max((point.batch for point in points if point.most), default=0)
    return next((batch for batch in sorted(off) if batch > on), None)


def markdown(points: Sequence[Point]) -> str:
    """For each temperature a table, and a sentence that says where the crossover lies."""
    heats = dict.fromkeys(point.temperature for point in points)
    return "\n".join(_table(heat, [point for point in points if point.temperature == heat]) for heat in heats)


def _table(temperature: float, points: Sequence[Point]) -> str:
    lines = [
        f"Temperature {temperature:g}:\n",
        "| batch | h | K at most | plain, tokens/s | specdec++, tokens/s | × decoding | × whole runs |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {p.batch} | {'–' if p.threshold is None else f'{p.threshold:.2f}'} | {p.most} | {p.plain.median:.0f} "
        f"| {p.speed.median:.0f} | {_spread(p.decoding)} | {_spread(p.whole)} |"
        for p in points
    ]
    return "\n".join([*lines, "", _said(points)]) + "\n"


def _said(points: Sequence[Point]) -> str:
    where = crossing(points)
    if where:
        return f"Crossover: from batch {where} on plain decoding is used (K = 0)."
    off = ", ".join(str(point.batch) for point in points if point.most == 0)
    return f"Plain decoding is used (K = 0) at batch {off}, and not beyond." if off else "Drafts at every size."


def _spread(value: Interval) -> str:
    return f"{value.median:.2f} [{value.low:.2f}, {value.high:.2f}]"


def _point(pair: SpecDecoder, prompts: Sequence[list[int]], plan: Plan, temperature: float, size: int) -> Point:
    policy, block = pair.policy_at(temperature)[0], max(_BLOCK, 2 * size)
    ids = [prompts[i % len(prompts)] for i in range(_BLOCKS * block)]
    samplings = [Sampling(temperature=temperature, max_tokens=plan.tokens, seed=plan.seed + i) for i in range(len(ids))]
    plain, drafting = both_ways(pair, policy, size, ids, samplings, repeats=plan.repeats, block=block)
    threshold = policy.stage(size)[0] if isinstance(policy, SpecDecPP) else None
    return Point(
        temperature, size, threshold, policy.limit(size), speed(plain, decoding=True), speed(drafting, decoding=True),
        ratio(drafting, plain, decoding=True), ratio(drafting, plain),
    )  # fmt: skip
