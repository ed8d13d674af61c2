"""What speculation is worth at each batch size, and from which size on it is not: plain decoding beside `specdec++`.

Drafting and verifying cost more beside many rows, where a plain step is nearly free. What `specdec++` does at each size
is tuned on the first half of the prompts (`specdec.stages`); what came of it is measured on the second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from specdec.bench import Plan
from specdec.decoder import SpecDecoder
from specdec.errors import SpecDecError
from specdec.paired import Interval, ratio, speed
from specdec.params import Sampling
from specdec.prompts import Prompt
from specdec.stages import BATCHES, both_ways
from specdec.stages import stages as staged
from specdec.stopping import Stage
from specdec.windows import Windows

_BLOCK = 8
"""Prompts of a block at least; twice the batch where that is more."""
_BLOCKS = 4
"""Blocks of a repetition."""


@dataclass(frozen=True, slots=True)
class Point:
    """threshold: h at this size. most: tokens a round at most; 0 = plain decoding is the better. plain, speed: tokens a
    second of decoding without and with the policy. decoding: their ratio on the same blocks of prompts. whole: that of
    whole runs, prompts read and all."""

    batch: int
    threshold: float
    most: int
    plain: Interval
    speed: Interval
    decoding: Interval
    whole: Interval


def crossover(
    pair: SpecDecoder,
    prompts: Sequence[Prompt],
    windows: Windows,
    plan: Plan,
    batches: Sequence[int] = BATCHES,
    say: Callable[[str], None] = lambda line: None,
) -> list[Point]:
    """One point for each size, at the plan's first temperature. pair: with a head. windows: those that lie beside it
    (`specdec.windows.load_windows`). prompts: at least two; repeated where a batch needs more."""
    if pair.head is None:
        raise SpecDecError("what speculation is worth by batch size is measured with a head: give --head FOLDER")
    if len(prompts) < 2:
        raise SpecDecError(
            "what speculation is worth by batch size needs two prompts at least: one to tune, one to try"
        )
    ids = [pair.prompt_ids(prompt) for prompt in prompts]
    half, heat, found = len(ids) // 2, plan.temperatures[0], list[Point]()
    for size in batches:
        (stage,) = staged(pair, windows.at(heat), ids[:half], (size,), temperatures=(heat,), tokens=plan.tokens)
        found.append(_point(pair, ids[half:], plan, stage))
        say(f"batch {size}: {found[-1].whole.median:.2f} ×")
    return found


def crossing(points: Sequence[Point]) -> int | None:
    """The smallest batch from which on speculation does not pay; None where it pays at every size measured."""
    off = [point.batch for point in points if point.most == 0]
    on = max((point.batch for point in points if point.most), default=0)
    return next((batch for batch in sorted(off) if batch > on), None)


def markdown(points: Sequence[Point]) -> str:
    """A table, and a sentence that says where the crossover lies."""
    lines = [
        "| batch | h | K at most | plain, tokens/s | specdec++, tokens/s | × decoding | × whole runs |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {p.batch} | {p.threshold:.2f} | {p.most} | {p.plain.median:.0f} | {p.speed.median:.0f} "
        f"| {_spread(p.decoding)} | {_spread(p.whole)} |"
        for p in points
    ]
    where = crossing(points)
    off = [str(point.batch) for point in points if point.most == 0]
    said = f"Crossover: from batch {where} on plain decoding is used (K = 0)." if where else ""
    if off and not where:
        said = f"Plain decoding is used (K = 0) at batch {', '.join(off)}, and not beyond."
    return "\n".join([*lines, "", said or "It pays at every size."]) + "\n"


def _spread(value: Interval) -> str:
    return f"{value.median:.2f} [{value.low:.2f}, {value.high:.2f}]"


def _point(pair: SpecDecoder, prompts: Sequence[list[int]], plan: Plan, stage: Stage) -> Point:
    size, threshold, most = stage
    block, heat = max(_BLOCK, 2 * size), plan.temperatures[0]
    ids = [prompts[i % len(prompts)] for i in range(_BLOCKS * block)]
    samplings = [Sampling(temperature=heat, max_tokens=plan.tokens, seed=plan.seed + i) for i in range(len(ids))]
    plain, drafting = both_ways(pair, stage, ids, samplings, repeats=plan.repeats, block=block)
    return Point(
        size, threshold, most, speed(plain, decoding=True), speed(drafting, decoding=True),
        ratio(drafting, plain, decoding=True), ratio(drafting, plain),
    )  # fmt: skip
