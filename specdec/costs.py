"""Measuring what speculation costs on this machine, for this pair, at one batch size; whole rounds, so nothing is
left out."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from specdec.decode import Batch
from specdec.decoder import SpecDecoder
from specdec.errors import SpecDecError
from specdec.models import feed
from specdec.params import Sampling
from specdec.policies.fixed import Fixed
from specdec.policies.specdecpp import SpecDecPP
from specdec.rows import Row
from specdec.sampling import SeededDraws
from specdec.threshold import Costs

LENGTHS = (1, 2, 4, 8)
_RAGGED = 5
"""Rows' lengths differ by less than this."""


@dataclass(frozen=True, slots=True)
class Measured:
    """plain: seconds of one plain step of the whole batch. costs: in its units."""

    plain: float
    costs: Costs


def measure(
    pair: SpecDecoder, *, batch: int = 1, temperature: float = 0.0, prompt: int = 64, repeats: int = 15
) -> Measured:
    """Time plain steps, speculative rounds of several lengths and target passes of several widths, interleaved.

    Of the repeats the fastest counts: what else runs on the machine only ever adds time.
    The slope of the round's time over its length is c + c_v, that of the target's pass over its width c_v, and the
    rest of the round's time at length 0 the overhead. Where the pair has a head, c holds its evaluation for the share
    of tokens that it is asked about.
    """
    found = _measured(_without_head(pair), batch, temperature, prompt, repeats)
    if pair.head is None:
        return found
    always = SpecDecoder(pair.target, pair.draft, head=pair.head.with_sure(2.0, 1.0))
    more = _measured(always, batch, temperature, prompt, repeats).costs.draft - found.costs.draft
    draft = found.costs.draft + pair.head.config.asked * max(0.0, more)
    return replace(found, costs=replace(found.costs, draft=draft))


def _without_head(pair: SpecDecoder) -> SpecDecoder:
    return SpecDecoder(pair.target, pair.draft, "off")


def _measured(pair: SpecDecoder, batch: int, temperature: float, prompt: int, repeats: int) -> Measured:
    context = min(model.model.context for model in (pair.target, pair.draft) if model)
    lengths = [k for k in LENGTHS if 1 + (repeats + 2) * (k + 1) < context]
    if len(lengths) < 2:
        raise SpecDecError(f"a context of {context} tokens is too short to measure what drafting costs")
    prompt = min(prompt, context - (repeats + 2) * (lengths[-1] + 1) - 1)
    plain: list[float] = []
    rounds: dict[int, list[float]] = {k: [] for k in lengths}
    passes: dict[int, list[float]] = {k: [] for k in lengths}
    runs = {k: _batch(pair, batch, temperature, prompt, k) for k in (0, *lengths)}
    for turn in range(repeats + 1):
        timings = {k: _timed(run.step) for k, run in runs.items()}
        widths = {k: _timed_pass(pair, batch, prompt, k + 1) for k in lengths}
        # The first turn reads the prompt into the draft and warms the caches.
        if turn:
            plain.append(timings.pop(0))
            for k in lengths:
                rounds[k].append(timings[k])
                passes[k].append(widths[k])
    base = min(plain)
    per_token, start = _line([(k, min(rounds[k]) / base) for k in lengths])
    verify, _ = _line([(k, min(passes[k]) / base) for k in lengths])
    # On a busy machine a fitted line can slope or start too low; a cost below 0 would make drafting free.
    per_token = max(per_token, 1e-3)
    verify = min(max(0.0, verify), per_token)
    return Measured(base, Costs(draft=per_token - verify, verify=verify, overhead=max(0.0, start - 1.0)))


def _batch(pair: SpecDecoder, size: int, temperature: float, prompt: int, k: int) -> Batch:
    """Rows of random tokens that no end of text stops, drafting k tokens a round; their lengths differ a little, as in
    use."""
    # h = 1 never stops: the head is evaluated, and the length is still k.
    policy = SpecDecPP(1.0, maximum=k) if pair.head and k else Fixed(k)
    generator = torch.Generator().manual_seed(k)
    whole: list[list[int]] = torch.randint(pair.target.model.vocab, (size, prompt), generator=generator).tolist()
    lines = [line[: max(1, prompt - i % _RAGGED)] for i, line in enumerate(whole)]
    room, sampling = pair.target.model.context, Sampling(temperature=temperature)
    rows = [
        Row(i, line, len(line), room, sampling, policy, SeededDraws(i), eos=frozenset()) for i, line in enumerate(lines)
    ]
    batch = pair.batch()
    batch.add(rows)
    return batch


def _timed(step: Callable[[], object]) -> float:
    clock = _clock()
    start = clock()
    step()
    return clock() - start


def _clock() -> Callable[[], float]:
    """One thread's own time does not tell what else the machine does; several threads' time has to be the wall's."""
    return time.thread_time if torch.get_num_threads() == 1 else time.perf_counter


def _timed_pass(pair: SpecDecoder, size: int, prompt: int, width: int) -> float:
    """One target pass over `width` tokens of each row behind a prompt, which is read once and copied."""
    model = pair.target.model
    with torch.inference_mode():
        cache = model.new_cache()
        rows = [cache.add_row() for _ in range(size)]
        feed(model, cache, rows[:1], [[1] * prompt])
        for row in rows:
            cache.copy_row(0, row)
            cache.roll_back(row, max(1, prompt - row % _RAGGED))
        clock = _clock()
        start = clock()
        model.logits(feed(model, cache, rows, [[1] * width] * size))
        return clock() - start


def _line(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Least squares: slope and value at 0."""
    mean_x = statistics.fmean(x for x, _ in points)
    mean_y = statistics.fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    return slope, mean_y - slope * mean_x
