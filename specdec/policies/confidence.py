"""`confidence`: stop after a token of low draft probability, q(x_k) < threshold (Hugging Face's
`ConfidenceCriteria`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specdec.policies.base import LIMIT, Need, Signal, Stateless, require


@dataclass(frozen=True, slots=True)
class Confidence(Stateless):
    """threshold: in [0, 1]; 0.4 is Hugging Face's default. maximum: tokens per round."""

    threshold: float = 0.4
    maximum: int = LIMIT
    needs: frozenset[Need] = frozenset({"probs"})

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 1, "threshold must lie in [0, 1]", self.threshold)

    def limit(self, batch: int) -> int:
        return self.maximum

    def go_on(self, trail: Sequence[Signal], batch: int) -> bool:
        return trail[-1].token_prob >= self.threshold
