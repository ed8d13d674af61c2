"""`adaedl`: stop when the entropy bound on acceptance, 1 − √(γ·H(q_k)), falls below a threshold λ that follows the
observed acceptance (after AdaEDL, arXiv 2410.18351).

The bound is the paper's; the way λ moves is this file's reading of it: a moving average of the share accepted, and a
step of λ upwards (draft less) while that average is below the aim, downwards while it is above.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from specdec.policies.base import LIMIT, Need, Policy, Signal, require


@dataclass(slots=True)
class AdaEdl:
    """threshold: λ at the start, in [0, 1]. gamma: of the entropy bound. aim: share of drafted tokens to be accepted.

    step: of λ per round. memory: weight of the past in the moving average, in [0, 1).
    """

    threshold: float = 0.4
    gamma: float = 0.2
    aim: float = 0.9
    step: float = 0.01
    memory: float = 0.9
    maximum: int = LIMIT
    needs: frozenset[Need] = frozenset({"entropy"})
    share: float | None = None

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 1, "threshold must lie in [0, 1]", self.threshold)
        require(0 <= self.aim <= 1, "aim must lie in [0, 1]", self.aim)
        require(0 <= self.memory < 1, "memory must lie in [0, 1)", self.memory)

    def limit(self, batch: int) -> int:
        return self.maximum

    def go_on(self, trail: Sequence[Signal], batch: int) -> bool:
        return 1 - math.sqrt(self.gamma * trail[-1].entropy) >= self.threshold

    def learn(self, trail: Sequence[Signal], accepted: int) -> None:
        now = accepted / len(trail)
        self.share = now if self.share is None else self.memory * self.share + (1 - self.memory) * now
        move = self.step if self.share < self.aim else -self.step
        self.threshold = min(1.0, max(0.0, self.threshold + move))

    def for_row(self) -> Policy:
        return replace(self)
