"""By how many rows decode together: how far `specdec++` drafts, and from which number on it does not (K = 0).

The costs measured at a size give the threshold and the most tokens of a draft. Whether drafting pays there is not left
to the cost model, which knows nothing of the prompts that the draft has to read too: texts are written both ways, and
drafting has to be the faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from specdec.costs import measure
from specdec.decoder import SpecDecoder
from specdec.errors import SpecDecError
from specdec.paired import Cells, ratio
from specdec.params import Sampling
from specdec.policies.base import LIMIT
from specdec.policies.specdecpp import SpecDecPP
from specdec.threshold import Window, best_length, derive

BATCHES = (1, 2, 4, 8, 16, 64)
MARGIN = 1.03
"""Drafting has to be so many times as fast; less is within what a trial can tell."""
_TURNS = 4
_FEWEST = 16
"""Prompts of a trial at least; twice the batch where that is more, so that places come free in it and are filled."""

Stage = tuple[int, float, int]
"""(batch, h, the most tokens of a draft), as in `SpecDecPP.stages`."""


def stages(
    pair: SpecDecoder,
    windows: Sequence[Window],
    prompts: Sequence[Sequence[int]],
    batches: Sequence[int] = BATCHES,
    *,
    temperatures: Sequence[float] = (0.0,),
    tokens: int = 100,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Stage, ...]:
    """One stage for each of `batches` (≥ 1, rising). pair: with a head. windows: as `specdec.calibrate.load_windows`
    gives them. prompts: token ids, of the kind served; repeated where a batch needs more. temperatures: served ones;
    drafting has to pay at each of them, and the costs are those of the last."""
    if min(batches, default=1) < 1 or not prompts:
        raise SpecDecError("stages are tuned for at least one row, on at least one prompt")
    found = list[Stage]()
    for size in batches:
        found.append(_stage(pair, windows, prompts, size, temperatures, tokens))
        say(f"{size} rows together: {told(found[-1])}")
    return tuple(found)


def told(stage: Stage) -> str:
    """A stage in words."""
    _, h, most = stage
    return f"h {h:.3f}, at most {most} tokens a draft" if most else "plain decoding (K = 0)"


def _stage(
    pair: SpecDecoder,
    windows: Sequence[Window],
    prompts: Sequence[Sequence[int]],
    size: int,
    temperatures: Sequence[float],
    tokens: int,
) -> Stage:
    costs = measure(pair, batch=size, temperature=temperatures[-1]).costs
    if size == 1:
        most, threshold = LIMIT, derive(windows, costs)
    else:
        most, threshold = best_length(windows, costs, size)
    pays = threshold.pays and all(
        gain(pair, prompts, size, threshold.h, most, heat, tokens) >= MARGIN for heat in dict.fromkeys(temperatures)
    )
    return size, threshold.h, most if pays else 0


def gain(
    pair: SpecDecoder,
    prompts: Sequence[Sequence[int]],
    size: int,
    h: float,
    most: int,
    temperature: float,
    tokens: int,
) -> float:
    """How many times as fast texts are written with drafts as without, `size` at a time, prompts read and all."""
    count = max(_FEWEST, 2 * size)
    ids = [prompts[i % len(prompts)] for i in range(count)]
    samplings = [Sampling(temperature=temperature, max_tokens=tokens, seed=i) for i in range(count)]
    arms = {
        "plain": SpecDecoder(pair.target, pair.draft, "off", batch=size),
        "drafting": SpecDecoder(pair.target, pair.draft, SpecDecPP(h, maximum=most), head=pair.head, batch=size),
    }
    cells = {name: Cells() for name in arms}
    for turn in range(_TURNS):
        for name, arm in list(arms.items())[:: -1 if turn % 2 else 1]:
            start = time.perf_counter()
            written = sum(len(result.tokens) for result in arm.generate(ids, samplings))
            cells[name].add(turn, time.perf_counter() - start, written)
    return ratio(cells["drafting"], cells["plain"]).median
