"""What speculation is worth at each batch size, and from which size on it is not: plain decoding beside `specdec++`.

Drafting and verifying cost more beside many rows, where a plain step is nearly free. At each size the threshold is
derived from costs measured at that size (`specdec.costs`), with the most tokens a draft may have; K is 0 where the
derived gain is below 10 %.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from specdec.bench import Interval, Plan, interval
from specdec.costs import plan as staged
from specdec.decoder import SpecDecoder
from specdec.errors import SpecDecError
from specdec.params import Sampling
from specdec.prompts import Prompt
from specdec.threshold import Window

BATCHES = (1, 2, 4, 8, 16, 64)


@dataclass(frozen=True, slots=True)
class Point:
    """threshold: h at this size. most: tokens a round at most; 0 = plain decoding is the better. plain, speed: tokens a
    second without and with the policy. speedup: pairs of one repetition."""

    batch: int
    threshold: float
    most: int
    plain: Interval
    speed: Interval
    speedup: Interval


def crossover(
    pair: SpecDecoder,
    prompts: Sequence[Prompt],
    windows: Sequence[Window],
    plan: Plan,
    batches: Sequence[int] = BATCHES,
    say: Callable[[str], None] = lambda line: None,
) -> list[Point]:
    """One point for each size, at the plan's first temperature. pair: with a head. windows: those that lie beside it
    (`specdec.calibrate.load_windows`). Prompts are repeated where a batch needs more."""
    if pair.head is None:
        raise SpecDecError("what speculation is worth by batch size is measured with a head: give --head FOLDER")
    found = []
    for batch in batches:
        policy = staged(pair, windows, (batch,), plan.temperatures[0])
        found.append(_point(pair, prompts, plan, batch, policy.threshold, policy.maximum))
        say(f"batch {batch}: {found[-1].speedup.median:.2f} ×")
    return found


def crossing(points: Sequence[Point]) -> int | None:
    """The smallest batch from which on speculation does not pay; None where it pays at every size measured."""
    off = [point.batch for point in points if point.most == 0]
    on = max((point.batch for point in points if point.most), default=0)
    return next((batch for batch in sorted(off) if batch > on), None)


def markdown(points: Sequence[Point]) -> str:
    """A table, and a sentence that says where the crossover lies."""
    lines = [
        "| batch | h | K at most | plain, tokens/s | specdec++, tokens/s | speed-up |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {p.batch} | {p.threshold:.2f} | {p.most} | {p.plain.median:.0f} | {p.speed.median:.0f} "
        f"| {p.speedup.median:.2f} [{p.speedup.low:.2f}, {p.speedup.high:.2f}] |"
        for p in points
    ]
    where = crossing(points)
    said = f"Crossover: from batch {where} on plain decoding is used (K = 0)." if where else "It pays at every size."
    return "\n".join([*lines, "", said]) + "\n"


def _point(pair: SpecDecoder, prompts: Sequence[Prompt], plan: Plan, batch: int, threshold: float, most: int) -> Point:
    count = -(-max(batch, 8) // batch) * batch
    ids = [pair.encode(prompts[i % len(prompts)]) for i in range(count)]
    heat = plan.temperatures[0]
    samplings = [Sampling(temperature=heat, max_tokens=plan.tokens, seed=plan.seed + i) for i in range(count)]
    rule = f"specdec++:{threshold},maximum={most}" if most else "off"
    arms = {
        "plain": SpecDecoder(pair.target, pair.draft, "off", batch=batch),
        "speed": SpecDecoder(pair.target, pair.draft, rule, head=pair.head, batch=batch),
    }
    rates: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(plan.repeats + 1):
        for name, decoder in arms.items() if turn % 2 else reversed(arms.items()):
            start = time.perf_counter()
            tokens = sum(len(result.tokens) for result in decoder.generate(ids, samplings))
            if turn:  # the first turn warms the caches
                rates[name].append(tokens / (time.perf_counter() - start))
    ratios = [speed / plain for speed, plain in zip(rates["speed"], rates["plain"], strict=True)]
    return Point(batch, threshold, most, interval(rates["plain"]), interval(rates["speed"]), interval(ratios))
