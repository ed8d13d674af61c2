"""`svip`: stop after a token drawn from a distribution of high entropy, √(scale·H(q_k)) > threshold (arXiv 2411.18462).

√(scale·H) stands for a lower bound on the chance of rejection; scale 0.15 and threshold 0.3 are the authors' values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from specdec.policies.base import LIMIT, Need, Signal, Stateless


@dataclass(frozen=True, slots=True)
class Svip(Stateless):
    """threshold: of √(scale·H), H in nats. maximum: tokens per round."""

    threshold: float = 0.3
    scale: float = 0.15
    maximum: int = LIMIT
    needs: frozenset[Need] = frozenset({"entropy"})

    def limit(self, batch: int) -> int:
        return self.maximum

    def go_on(self, trail: Sequence[Signal], batch: int) -> bool:
        return math.sqrt(self.scale * trail[-1].entropy) <= self.threshold
