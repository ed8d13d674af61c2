"""`heuristic`: two more tokens after a round accepted whole, one fewer (at least one) after a rejection.

Hugging Face's `num_assistant_tokens_schedule="heuristic"`, with an upper bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from specdec.policies.base import LIMIT, Need, Policy, Signal, require


@dataclass(slots=True)
class Heuristic:
    """k: tokens in the first round, ≥ 1, and the current state. maximum: tokens per round."""

    k: int = 5
    maximum: int = LIMIT
    needs: frozenset[Need] = frozenset()

    def __post_init__(self) -> None:
        require(self.k >= 1, "k must be ≥ 1", self.k)
        self.k = min(self.k, self.maximum)

    def limit(self, batch: int) -> int:
        return self.k

    def go_on(self, trail: Sequence[Signal], batch: int) -> bool:
        return True

    def learn(self, trail: Sequence[Signal], accepted: int) -> None:
        # A round cut short by max_tokens or EOS says nothing about the length that was asked for.
        if accepted < len(trail):
            self.k = max(1, self.k - 1)
        elif len(trail) == self.k:
            self.k = min(self.maximum, self.k + 2)

    def for_row(self) -> Policy:
        return replace(self)
