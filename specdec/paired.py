"""Times and counts of several systems on the same blocks of prompts, and what they say of one another.

Blocks of prompts are the cells: all systems decode a block one after the other before the next one begins, so that what
else the machine does meets all of them alike. An interval comes from drawing blocks anew (Efron's bootstrap), paired:
of two systems the same blocks.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from specdec.decoder import Generation
from specdec.params import Sampling
from specdec.threshold import Costs


class System(Protocol):
    """What is timed. reading: seconds its target has spent on prompts so far; None where it does not tell."""

    @property
    def reading(self) -> float | None: ...

    def generate(self, prompts: Sequence[list[int]], sampling: Sequence[Sampling], /) -> list[Generation]: ...


_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """A median with a 95 % bootstrap interval."""

    median: float
    low: float
    high: float


@dataclass(slots=True)
class Cells:
    """What one system did. seconds, tokens, passes (of the target), drafted (tokens): of each repetition, block by
    block. reading: the part of the seconds in which its target read prompts; 0 where the system does not tell, and
    `told` is False then."""

    seconds: list[list[float]] = field(default_factory=list)
    tokens: list[list[int]] = field(default_factory=list)
    reading: list[list[float]] = field(default_factory=list)
    passes: list[list[int]] = field(default_factory=list)
    drafted: list[list[int]] = field(default_factory=list)
    told: bool = True

    def add(
        self,
        repetition: int,
        seconds: float,
        tokens: int,
        reading: float | None = 0.0,
        *,
        passes: int = 0,
        drafted: int = 0,
    ) -> None:
        """One more block of a repetition (from 0)."""
        while len(self.seconds) <= repetition:
            for lines in (self.seconds, self.tokens, self.reading, self.passes, self.drafted):
                lines.append([])
        self.seconds[repetition].append(seconds)
        self.tokens[repetition].append(tokens)
        self.reading[repetition].append(reading or 0.0)
        self.passes[repetition].append(passes)
        self.drafted[repetition].append(drafted)
        self.told = self.told and reading is not None

    def time(
        self, repetition: int, system: System, ids: Sequence[list[int]], samplings: Sequence[Sampling]
    ) -> list[Generation]:
        """Let a system generate a block, and note what it took."""
        before, start = system.reading, time.perf_counter()
        results = system.generate(ids, samplings)
        seconds, after = time.perf_counter() - start, system.reading
        reading = None if before is None or after is None else after - before
        tokens, passes, drafted = (
            sum(count) for count in zip(*((len(r.tokens), r.passes, r.drafted) for r in results), strict=True)
        )
        self.add(repetition, seconds, tokens, reading, passes=passes, drafted=drafted)
        return results


def speed(cells: Cells, *, decoding: bool = False) -> Interval:
    """Tokens a second: the median of the repetitions. decoding: without the time in which the target read prompts."""
    return _interval(lambda pick: _rates(cells, pick, decoding), _blocks(cells))


def ratio(cells: Cells, base: Cells, *, decoding: bool = False) -> Interval:
    """The speed of one system over that of another, repetition by repetition, in the median."""
    return _interval(lambda pick: _rates(cells, pick, decoding) / _rates(base, pick, decoding), _blocks(cells))


def counted(cells: Cells, costs: Costs) -> Interval:
    """Tokens a plain step by the cost model, so over plain decoding: what the clock would show if steps cost what they
    did where `costs` were measured."""
    return _interval(lambda pick: _counts(cells, pick, costs), _blocks(cells))


def counted_ratio(cells: Cells, costs: Costs, base: Cells, paid: Costs) -> Interval:
    """By the cost model, the speed of one system over that of another, which pays other costs."""
    return _interval(lambda pick: _counts(cells, pick, costs) / _counts(base, pick, paid), _blocks(cells))


def _counts(cells: Cells, pick: Tensor, costs: Costs) -> Tensor:
    """pick: int64 [n, blocks] → tokens a plain step, [n, repetitions]."""
    tokens, passes, drafted = (_summed(each, pick) for each in (cells.tokens, cells.passes, cells.drafted))
    drafting = costs.overhead * passes + drafted * (costs.draft + costs.verify)
    return tokens / (passes + torch.where(drafted > 0, drafting, 0.0))


def _rates(cells: Cells, pick: Tensor, decoding: bool) -> Tensor:
    """pick: int64 [n, blocks] → tokens a second, [n, repetitions]."""
    tokens, seconds, reading = (_summed(each, pick) for each in (cells.tokens, cells.seconds, cells.reading))
    return tokens / (seconds - reading if decoding else seconds)


def _summed(lines: Sequence[Sequence[float]], pick: Tensor) -> Tensor:
    """[repetitions, blocks] → the sums over the picked blocks, float64 [n, repetitions]."""
    return torch.tensor(lines, dtype=torch.float64).t()[pick].sum(1)


def _blocks(cells: Cells) -> int:
    return len(cells.seconds[0])


def _interval(rates: Callable[[Tensor], Tensor], blocks: int) -> Interval:
    generator = torch.Generator().manual_seed(0)
    found = rates(torch.arange(blocks).unsqueeze(0))[0]
    if blocks > 1:
        drawn = rates(torch.randint(blocks, (_RESAMPLES, blocks), generator=generator))
    else:  # of a single block the repetitions are drawn anew
        drawn = found[torch.randint(len(found), (_RESAMPLES, len(found)), generator=generator)]
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = drawn.quantile(0.5, dim=-1).quantile(ends).tolist()
    return Interval(statistics.median(found.tolist()), low, high)
