"""By how many rows decode together: how far `specdec++` drafts, and from which number on it does not (K = 0).

The costs measured at a size give the threshold and the most tokens of a draft. Whether drafting pays there is not left
to the cost model, which knows nothing of the prompts that the draft has to read too: texts are written both ways, and
drafting has to be the faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from specdec.costs import measure
from specdec.decoder import SpecDecoder
from specdec.errors import SpecDecError
from specdec.paired import Cells, ratio
from specdec.params import Sampling
from specdec.policies.base import LIMIT
from specdec.policies.specdecpp import SpecDecPP
from specdec.threshold import LEVEL, Window, best_length, derive
from specdec.watched import Watched

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
    prompts: Sequence[list[int]],
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
    prompts: Sequence[list[int]],
    size: int,
    temperatures: Sequence[float],
    tokens: int,
) -> Stage:
    costs = measure(pair, batch=size, temperature=temperatures[-1]).costs
    if size == 1:
        most, threshold = LIMIT, derive(windows, costs, level=LEVEL)
    else:
        most, threshold = best_length(windows, costs, size)
    stage, plainly = (size, threshold.h, most), (size, threshold.h, 0)
    if not threshold.pays:
        return plainly
    ids = [prompts[i % len(prompts)] for i in range(max(_FEWEST, 2 * size))]
    pays = all(_pays(pair, stage, ids, heat, tokens) for heat in dict.fromkeys(temperatures))
    return stage if pays else plainly


def _pays(pair: SpecDecoder, stage: Stage, ids: Sequence[list[int]], temperature: float, tokens: int) -> bool:
    """Whether drafting was the faster. What else the machine does may have been to blame where it was not: then it is
    tried once more, for twice as long."""
    samplings = [Sampling(temperature=temperature, max_tokens=tokens, seed=i) for i in range(len(ids))]
    for turns in (_TURNS, 2 * _TURNS):
        plain, drafting = both_ways(pair, stage, ids, samplings, repeats=turns)
        if ratio(drafting, plain).median >= MARGIN:
            return True
    return False


def both_ways(
    pair: SpecDecoder,
    stage: Stage,
    ids: Sequence[list[int]],
    samplings: Sequence[Sampling],
    *,
    repeats: int,
    block: int | None = None,
) -> tuple[Cells, Cells]:
    """The times of texts written without drafts and with them as a stage has it, prompts read and all; the two take
    turns by blocks of so many prompts (all in one by default)."""
    size, h, most = stage
    block = block or len(ids)
    plain = Watched(pair.target, pair.draft, "off", batch=size)
    drafting = Watched(pair.target, pair.draft, SpecDecPP(h, maximum=most), head=pair.head, batch=size)
    arms = [(Cells(), plain), (Cells(), drafting)]
    for repetition in range(repeats):
        for number, at in enumerate(range(0, len(ids), block), repetition):
            for cells, arm in arms if number % 2 else reversed(arms):
                cells.time(repetition, arm, ids[at : at + block], samplings[at : at + block])
    return arms[0][0], arms[1][0]
