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

import torch
from torch import Tensor

from specdec.decoder import Generation
from specdec.params import Sampling

Run = Callable[[Sequence[list[int]], Sequence[Sampling]], list[Generation]]
"""Generates for all prompts; what is timed."""

_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """A median with a 95 % bootstrap interval."""

    median: float
    low: float
    high: float


@dataclass(slots=True)
class Cells:
    """What one system did. seconds, tokens: of each repetition, block by block."""

    seconds: list[list[float]] = field(default_factory=list)
    tokens: list[list[int]] = field(default_factory=list)

    def add(self, repetition: int, seconds: float, tokens: int) -> None:
        """One more block of a repetition (from 0)."""
        while len(self.seconds) <= repetition:
            self.seconds.append([])
            self.tokens.append([])
        self.seconds[repetition].append(seconds)
        self.tokens[repetition].append(tokens)

    def time(
        self, repetition: int, run: Run, ids: Sequence[list[int]], samplings: Sequence[Sampling]
    ) -> list[Generation]:
        """Let a system generate a block, and note what it took."""
        start = time.perf_counter()
        results = run(ids, samplings)
        self.add(repetition, time.perf_counter() - start, sum(len(result.tokens) for result in results))
        return results


def speed(cells: Cells) -> Interval:
    """Tokens a second: the median of the repetitions."""
    return _interval(lambda pick: _rates(cells, pick), _blocks(cells))


def ratio(cells: Cells, base: Cells) -> Interval:
    """The speed of one system over that of another, repetition by repetition, in the median."""
    return _interval(lambda pick: _rates(cells, pick) / _rates(base, pick), _blocks(cells))


def _rates(cells: Cells, pick: Tensor) -> Tensor:
    """pick: int64 [n, blocks] → tokens a second, [n, repetitions]."""
    tokens, seconds = (torch.tensor(each, dtype=torch.float64).t()[pick] for each in (cells.tokens, cells.seconds))
    return tokens.sum(1) / seconds.sum(1)


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
