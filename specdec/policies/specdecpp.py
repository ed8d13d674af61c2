"""`specdec++`: stop when the predicted probability that at least one drafted token is rejected exceeds h.

SpecDec++ (arXiv 2405.19715, section 3.2): 1 − Π P(accept x_i) > h, within bounds. The probabilities are the trained
head's. h may
depend on how many rows decode together, because drafting and verifying cost more beside many rows: see `stages`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from specdec.policies.base import LIMIT, Need, Signal, Stateless, require


@dataclass(frozen=True, slots=True)
class SpecDecPP(Stateless):
    """threshold: h in [0, 1]; the paper's best is 0.7, `specdec.threshold` derives it. minimum, maximum: tokens per
    round.

    stages: (batch, h, maximum) in rising order of batch, each valid from that many rows on; maximum 0 means that
    speculation does not pay there. Below the first stage the two plain values hold.
    """

    threshold: float = 0.7
    minimum: int = 1
    maximum: int = LIMIT
    stages: tuple[tuple[int, float, int], ...] = ()
    needs: frozenset[Need] = frozenset({"head"})

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 1, "threshold must lie in [0, 1]", self.threshold)
        require(self.minimum <= max(1, self.maximum), "minimum must be ≤ maximum", self.minimum)

    def limit(self, batch: int) -> int:
        return self.stage(batch)[1]

    def go_on(self, trail: Sequence[Signal], batch: int) -> bool:
        if len(trail) < self.minimum:
            return True
        return 1 - math.prod([signal.accept for signal in trail]) <= self.stage(batch)[0]

    def stage(self, batch: int) -> tuple[float, int]:
        """h, and the most tokens of a draft, among so many rows."""
        now = (self.threshold, self.maximum)
        for start, threshold, maximum in self.stages:
            if batch < start:
                break
            now = (threshold, maximum)
        return now
