"""Local search: propose a small change to one of the best systems so far.

A parent is drawn by its rank (exponentially, so the best few are favoured and the rest not excluded), and one choice
of it is changed: a set of models gains, loses or swaps one member, a number moves or jumps, a word becomes another.
Choices that hang on the changed one are kept where they still apply and drawn where they are new. It needs no
surrogate model, proposes no set that is too large, and on sets of models it beats TPE at equal evaluations.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar

from archon.search.build import FAMILY, Assignment, assign
from archon.search.enumeration import drawn
from archon.search.space import Choice, InRange, Space, SubsetOf, Value

STARTUP = 20
"""Random proposals before the first change is tried."""
MEAN_RANK = 3.0
"""Mean of the parent's rank: how greedy the search is."""
RESTART = 0.05
"""Share of proposals drawn at random throughout."""


@dataclass(slots=True)
class LocalSampler:
    """See the module; the contract is `archon.search.samplers.Sampler`."""

    exhaustive: ClassVar[bool] = False

    space: Space
    rng: Random
    _told: list[tuple[float, int, Assignment]] = field(default_factory=list)
    """(-value, order of telling, assignment), best first."""
    _proposed: int = 0

    def propose(self) -> tuple[Assignment, Assignment]:
        """A random assignment at first, then mostly a changed one; the ticket is the assignment."""
        self._proposed += 1
        fresh = self._proposed <= STARTUP or not self._told or self.rng.random() < RESTART
        chosen = drawn(self.space, self.rng) if fresh else self._changed(self._parent())
        return chosen, chosen

    def adopt(self, chosen: Assignment) -> Assignment:
        """The ticket of a foreign proposal."""
        return chosen

    def tell(self, ticket: Assignment, value: float) -> None:
        """Ranks an assignment; of equals the earlier one stands first."""
        if all(known != ticket for _, _, known in self._told):
            insort(self._told, (-value, len(self._told), ticket), key=lambda row: row[:2])

    def reject(self, ticket: Assignment) -> None:
        """Nothing is learnt."""

    def _parent(self) -> Assignment:
        rank = int(self.rng.expovariate(1 / MEAN_RANK))
        return self._told[min(rank, len(self._told) - 1)][2]

    def _changed(self, parent: Assignment) -> Assignment:
        family = self.space.family(str(parent[FAMILY]))
        open_choices = [name for name in parent if name != FAMILY and len(family.choices[name].values) > 1]
        if not open_choices:
            return drawn(self.space, self.rng)
        name = self.rng.choice(open_choices)
        changed = {**parent, name: self._neighbour(family.choices[name], parent[name])}

        def pick(key: str, choice: Choice) -> Value:
            kept = key.removeprefix(f"{family.name}.")
            return changed[kept] if kept in changed else self.rng.choice(choice.values)

        return assign(self.space, pick)

    def _neighbour(self, choice: Choice, value: Value) -> Value:
        if isinstance(choice, SubsetOf) and isinstance(value, tuple):
            return self.rng.choice(_sets_beside(choice, value))
        others = [other for other in choice.values if other != value]
        if isinstance(choice, InRange) and isinstance(value, int) and self.rng.random() < 0.5:
            near = [other for other in others if isinstance(other, int) and abs(other - value) == choice.step]
            return self.rng.choice(near)
        return self.rng.choice(others)


def _sets_beside(choice: SubsetOf, members: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Every allowed set that gains, loses or swaps one member."""
    others = [model for model in choice.subset_of if model not in members]
    changes: list[tuple[str | None, str | None]] = [(None, new) for new in others]
    changes += [(old, None) for old in members]
    changes += [(old, new) for old in members for new in others]
    found = []
    for old, new in changes:
        wanted = (set(members) - {old}) | ({new} if new else set())
        if choice.at_least <= len(wanted) <= choice.most:
            found.append(tuple(model for model in choice.subset_of if model in wanted))
    return found or [members]
