"""Times of several systems on the same blocks of prompts, and what they say of one another.

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
    """What one system did. seconds, tokens: of each repetition, block by block. reading: the part of the seconds in
    which its target read prompts; 0 where the system does not tell, and `told` is False then."""

    seconds: list[list[float]] = field(default_factory=list)
    tokens: list[list[int]] = field(default_factory=list)
    reading: list[list[float]] = field(default_factory=list)
    told: bool = True

    def add(self, repetition: int, seconds: float, tokens: int, reading: float | None = 0.0) -> None:
        """One more block of a repetition (from 0)."""
        while len(self.seconds) <= repetition:
            for lines in (self.seconds, self.tokens, self.reading):
                lines.append([])
        self.seconds[repetition].append(seconds)
        self.tokens[repetition].append(tokens)
        self.reading[repetition].append(reading or 0.0)
        self.told = self.told and reading is not None

    def time(
        self, repetition: int, system: System, ids: Sequence[list[int]], samplings: Sequence[Sampling]
    ) -> list[Generation]:
        """Let a system generate a block, and note what it took."""
        before, start = system.reading, time.perf_counter()
        results = system.generate(ids, samplings)
        seconds, after = time.perf_counter() - start, system.reading
        reading = None if before is None or after is None else after - before
        self.add(repetition, seconds, sum(len(result.tokens) for result in results), reading)
        return results


def speed(cells: Cells, *, decoding: bool = False) -> Interval:
    """Tokens a second: the median of the repetitions. decoding: without the time in which the target read prompts."""
    return _interval(lambda pick: _rates(cells, pick, decoding), _blocks(cells))


def ratio(cells: Cells, base: Cells, *, decoding: bool = False) -> Interval:
    """The speed of one system over that of another, repetition by repetition, in the median."""
    return _interval(lambda pick: _rates(cells, pick, decoding) / _rates(base, pick, decoding), _blocks(cells))


def _rates(cells: Cells, pick: Tensor, decoding: bool) -> Tensor:
    """pick: int64 [n, blocks] → tokens a second, [n, repetitions]."""
    tokens, seconds, reading = (
        torch.tensor(each, dtype=torch.float64).t()[pick].sum(1)
        for each in (cells.tokens, cells.seconds, cells.reading)
    )
    return tokens / (seconds - reading if decoding else seconds)


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
