"""`fixed:K`: always draft K tokens (Leviathan et al., arXiv 2211.17192). `off` is K = 0: plain decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specdec.policies.base import Need, Signal, Stateless


@dataclass(frozen=True, slots=True)
class Fixed(Stateless):
    """k: tokens per round, ≥ 0; 0 never drafts."""

    k: int = 5
    needs: frozenset[Need] = frozenset()

    def limit(self, batch: int) -> int:
        return self.k

    def go_on(self, trail: Sequence[Signal], batch: int) -> bool:
        return True


def off() -> Fixed:
    """Plain decoding: one target pass for each token."""
    return Fixed(0)
