"""The stopping threshold h derived from measured costs, instead of tuned by hand. Pure arithmetic; no torch.

A round that drafts k tokens costs 1 + o + k·(c + c_v) plain target steps and gives 1 + Σ_{i≤k} S_i tokens, S_i the
chance that the first i tokens all stand. By the renewal argument the best rate ρ (tokens per plain step, so the
speed-up) is reached by drafting one more token just while S ≥ ρ·(c + c_v), that is h* = 1 − ρ·(c + c_v), where ρ is
the rate this very rule
attains: a fixed point (Dinkelbach). Text is not memoryless, so one multiplier on ρ·(c + c_v) is tuned on held-out
rounds. Among several rows a round lasts as long as its longest draft, so that the most tokens a draft may have matters
too (`best_length`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import mul
from typing import NamedTuple

from specdec.policies.base import LIMIT

Rule = Callable[[Sequence[float], float], int]
"""(predicted chances, least survival) → how many tokens are drafted."""

MULTIPLIERS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 1.6, 1.8, 2.0)
LENGTHS = (1, 2, 3, 4, 6, 8, 12, LIMIT)
"""Bounds on a draft's tokens that `best_length` tries."""
_LEVEL = 1.005
"""Rates that differ by less are as good as equal: some hundred roll-outs do not tell them apart."""


@dataclass(frozen=True, slots=True)
class Costs:
    """In units of one plain target step at the same batch. draft: c, one drafted token with its signals. verify: c_v,
    what one more token adds to the target's pass. overhead: o, what a speculative round costs beside its tokens."""

    draft: float
    verify: float = 0.0
    overhead: float = 0.0

    def round(self, drafted: int) -> float:
        """The cost of one round; an undrafted round is a plain step."""
        return 1.0 + self.overhead + drafted * (self.draft + self.verify) if drafted else 1.0


class Price(NamedTuple):
    """What a draft is paid with at one temperature. costs: with q read of each token. asking: what asking a head about
    one adds, in plain steps."""

    costs: Costs
    asking: float = 0.0

    def at(self, asked: float) -> Costs:
        """Where the head is asked about this share of the tokens."""
        return replace(self.costs, draft=self.costs.draft + asked * self.asking)


@dataclass(frozen=True, slots=True)
class Window:
    """One roll-out of the draft: what the head predicted for each token, and the chance it really had, each in [0,
    1]."""

    predicted: tuple[float, ...]
    actual: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Threshold:
    """h: as `SpecDecPP.threshold`. rate: ρ predicted for it. multiplier: the tuned factor (1: the formula as it
    stands).
    pays: whether ρ exceeds plain decoding."""

    h: float
    rate: float
    multiplier: float

    @property
    def pays(self) -> bool:
        return self.rate > 1.0


def drafted_by(predicted: Sequence[float], least: float) -> int:
    """How many tokens the rule drafts: up to and with the first at which the product falls below `least`."""
    survival = 1.0
    for index, chance in enumerate(predicted):
        survival *= chance
        if survival < least:
            return index + 1
    return len(predicted)


def drafted_by_seer(predicted: Sequence[float], least: float) -> int:
    """The same for one who knows each token's chance *before* drafting it: up to the last with S ≥ `least`."""
    return next((k for k, survival in enumerate(accumulate(predicted, mul)) if survival < least), len(predicted))


def rate(windows: Sequence[Window], least: float, costs: Costs, drafted: Rule = drafted_by, batch: int = 1) -> float:
    """ρ of a rule with the bound `least` on the predicted survival, over all windows, `batch` of them at a time.

    The longest of B drafts has more than k tokens with probability 1 − P(K ≤ k)^B; the sum over k ≥ 0 is its mean.
    """
    counts = [drafted(window.predicted, least) for window in windows]
    beyond = [1.0 - (sum(count <= k for count in counts) / len(counts)) ** batch for k in range(max(counts))]
    spent = 1.0 + (costs.overhead * beyond[0] + sum(beyond) * (costs.draft + costs.verify) if beyond else 0.0)
    pairs = zip(windows, counts, strict=True)
    return (1.0 + sum(_expected(window.actual[:count]) for window, count in pairs) / len(windows)) / spent


def derive(
    windows: Sequence[Window],
    costs: Costs,
    multipliers: Sequence[float] = MULTIPLIERS,
    drafted: Rule = drafted_by,
    batch: int = 1,
    level: float = 1.0,
) -> Threshold:
    """The fixed point of each multiplier, and the best of them. `windows` must not be empty. costs: at that batch.
    level: how many times as good the best may be for that nearest the formula to be preferred."""
    found = [_fixed_point(windows, costs, multiplier, drafted, batch) for multiplier in multipliers]
    best = max(threshold.rate for threshold in found)
    good = [threshold for threshold in found if threshold.rate * level >= best - 1e-9]
    return min(good, key=lambda threshold: abs(math.log(threshold.multiplier)))


def best_length(
    windows: Sequence[Window], costs: Costs, batch: int, lengths: Sequence[int] = LENGTHS
) -> tuple[int, Threshold]:
    """The most tokens a draft should have among `batch` rows, and the threshold derived with it."""
    cut = {most: [_cut(window, most) for window in windows] for most in lengths}
    # Of equals the longest.
    best = max(lengths, key=lambda most: (round(derive(cut[most], costs, batch=batch).rate, 3), most))
    return best, derive(cut[best], costs, batch=batch, level=_LEVEL)


def _cut(window: Window, most: int) -> Window:
    return Window(window.predicted[:most], window.actual[:most])


def _fixed_point(windows: Sequence[Window], costs: Costs, multiplier: float, drafted: Rule, batch: int) -> Threshold:
    best = Threshold(0.0, 0.0, multiplier)
    now = 1.0
    # Dinkelbach's iteration rises in a few steps; with sampled windows it may end in a short cycle, of which the best
    # counts.
    for _ in range(12):
        least = min(1.0, multiplier * now * (costs.draft + costs.verify))
        now = rate(windows, least, costs, drafted, batch)
        if now < best.rate - 1e-9:
            break
        settled = now < best.rate + 1e-9
        best = Threshold(1.0 - least, now, multiplier)
        if settled:
            break
    return best


def _expected(chances: Sequence[float]) -> float:
    """Σ_i Π_{j≤i}: the expected number of drafted tokens that stand."""
    survivals: list[float] = list(accumulate(chances, mul))
    return sum(survivals)
