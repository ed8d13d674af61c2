"""`product`: stop once the running product of the drawn tokens' draft probabilities falls below a threshold.

The draft's own estimate of the chance that the whole block stands; the training-free counterpart of `specdec++`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from specdec.policies.base import LIMIT, Need, Signal, Stateless, require


@dataclass(frozen=True, slots=True)
class Product(Stateless):
    """threshold: in [0, 1]. maximum: tokens per round."""

    threshold: float = 0.4
    maximum: int = LIMIT
    needs: frozenset[Need] = frozenset({"probs"})

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 1, "threshold must lie in [0, 1]", self.threshold)

    def limit(self, batch: int) -> int:
        return self.maximum

    def go_on(self, trail: Sequence[Signal], batch: int) -> bool:
        return math.prod([signal.token_prob for signal in trail]) >= self.threshold
