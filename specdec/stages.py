"""By how many rows decode together: how far `specdec++` drafts, and from which number on it does not (K = 0).

The costs measured at a size give the threshold and the most tokens of a draft. Whether drafting pays there is not left
to the cost model, which knows nothing of the prompts that the draft has to read too: texts are written both ways, and
drafting has to be the faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from specdec.costs import measure
from specdec.decoder import SpecDecoder
from specdec.errors import SpecDecError
from specdec.head import AcceptanceHead
from specdec.paired import Cells, ratio
from specdec.params import Sampling
from specdec.policies.base import LIMIT, Policy
from specdec.policies.specdecpp import SpecDecPP
from specdec.stopping import Stage, Stopping
from specdec.threshold import Window, best_length, derive
from specdec.watched import Watched
from specdec.windows import Windows

BATCHES = (1, 2, 4, 8, 16, 64)
MARGIN = 1.03
"""Drafting has to be so many times as fast; less is within what a trial can tell."""
_TURNS = 4
_FEWEST = 48
"""Prompts of a trial at least; twice the batch where that is more, so that places come free in it and are filled."""


def tuned(
    pair: SpecDecoder,
    windows: Windows,
    prompts: Sequence[list[int]],
    batches: Sequence[int] = BATCHES,
    *,
    temperatures: Sequence[float],
    tokens: int = 100,
    say: Callable[[str], None] = lambda line: None,
) -> AcceptanceHead:
    """The pair's head with stages found for temperature 0, for those above it, or for both, as `temperatures` has them
    (at least one, of those trained for); all else as in `stages`."""
    assert pair.head is not None
    config = pair.head.config
    if bad := [heat for heat in temperatures if not pair.head.covers(heat)]:
        raise SpecDecError(
            f"the head was trained for temperatures {config.low:g} to {config.high:g}, not {bad[0]:g}, where another "
            "rule stands in for it: there is nothing to tune"
        )

    def found(heats: Sequence[float]) -> Stopping:
        lines = stages(pair, windows.at(heats[-1]), prompts, batches, temperatures=heats, tokens=tokens, say=say)
        return replace(config.stopping_at(heats[-1]), stages=lines)

    warm, cold = [heat for heat in temperatures if heat > 0], 0 in temperatures
    if config.high == 0:
        return pair.head.with_stopping(found([0.0]))
    untouched = config.cold or (config.stopping if config.covers(0) else None)
    return pair.head.with_stopping(found(warm) if warm else config.stopping, found([0.0]) if cold else untouched)


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
    """One stage for each of `batches` (≥ 1), in rising order; where drafting does not pay, it is off among more too.

    pair: with a head. windows: as `specdec.windows.load_windows` gives them. prompts: token ids, of the kind served;
    repeated where a batch needs more. temperatures: served ones of a kind (0, or above it); drafting has to pay at each
    of them, and the costs are those of the last.
    """
    if min(batches, default=1) < 1 or not prompts:
        raise SpecDecError("stages are tuned for at least one row, on at least one prompt")
    found = list[Stage]()
    for size in sorted(set(batches)):
        if found and not found[-1][2]:
            found.append((size, found[-1][1], 0))
        else:
            found.append(_stage(pair, windows, prompts, size, temperatures, tokens))
        heats = ", ".join(f"{heat:g}" for heat in temperatures)
        say(f"temperature {heats}, {size} rows together: {told(found[-1])}")
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
    heat = temperatures[-1]
    costs = measure(pair, batch=size, temperature=heat).costs
    if size == 1 and pair.head:
        # The multiplier is what the head's training found, with many times the roll-outs that there are here.
        most, threshold = LIMIT, derive(windows, costs, (pair.head.config.stopping_at(heat).multiplier,))
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
    size, h, most = stage
    for turns in (_TURNS, 2 * _TURNS):
        plain, drafting = both_ways(pair, SpecDecPP(h, maximum=most), size, ids, samplings, repeats=turns)
        if ratio(drafting, plain).median >= MARGIN:
            return True
    return False


def both_ways(
    pair: SpecDecoder,
    policy: Policy,
    size: int,
    ids: Sequence[list[int]],
    samplings: Sequence[Sampling],
    *,
    repeats: int,
    block: int | None = None,
) -> tuple[Cells, Cells]:
    """The times of texts written without drafts and with them, `size` rows together, prompts read and all; the two
    take turns by blocks of so many prompts (all in one by default)."""
    block = block or len(ids)
    plain = Watched(pair.target, pair.draft, "off", batch=size)
    drafting = Watched(pair.target, pair.draft, policy, head=pair.head, batch=size)
    arms = [(Cells(), plain), (Cells(), drafting)]
    for repetition in range(repeats):
        for number, at in enumerate(range(0, len(ids), block), repetition):
            for cells, arm in arms if number % 2 else reversed(arms):
                cells.time(repetition, arm, ids[at : at + block], samplings[at : at + block])
    return arms[0][0], arms[1][0]
