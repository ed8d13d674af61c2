"""One rule in place of another, but never drafting more than that one would among as many rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specdec.policies.base import Need, Policy, Signal


@dataclass(frozen=True, slots=True)
class Capped:
    """`rule`, within the limits of `bound`: where drafting was found not to pay, no stand-in drafts either."""

    rule: Policy
    bound: Policy

    @property
    def needs(self) -> frozenset[Need]:
        return self.rule.needs

    def limit(self, batch: int) -> int:
        return min(self.rule.limit(batch), self.bound.limit(batch))

    def go_on(self, trail: Sequence[Signal], batch: int) -> bool:
        return self.rule.go_on(trail, batch)

    def learn(self, trail: Sequence[Signal], accepted: int) -> None:
        self.rule.learn(trail, accepted)

    def for_row(self) -> Policy:
        return Capped(self.rule.for_row(), self.bound)

    def __str__(self) -> str:
        return type(self.rule).__name__.lower()
