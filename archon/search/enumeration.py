"""A space counts and enumerates itself: every assignment lazily, what is excluded and why, where the number is from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random

from archon.architecture import Architecture
from archon.search.build import FAMILY, Assignment, Blueprint, Infeasible, Memo, Rankings, blueprint, holds
from archon.search.space import Choice, Family, Space, Value

EXACT = 5000
"""Up to so many feasible assignments, duplicates are found by the architecture's canonical hash, above by blueprint."""


def assignments(space: Space) -> Iterator[dict[str, Value]]:
    """Every assignment, lazily, in the order of the file."""
    for family in space.families:
        yield from _completed(family, {FAMILY: family.name}, list(family.choices.items()))


def systems(space: Space, rankings: Rankings | None = None) -> Iterator[tuple[dict[str, Value], Architecture]]:
    """Every feasible, distinct architecture with the first assignment that makes it, lazily."""
    seen: set[str] = set()
    for chosen in assignments(space):
        try:
            made = blueprint(space, chosen, rankings).architecture()
        except Infeasible:
            continue
        if made.hash not in seen:
            seen.add(made.hash)
            yield chosen, made


def drawn(space: Space, rng: Random) -> dict[str, Value]:
    """A random assignment: a family, then each choice, uniformly."""
    from archon.search.build import assign

    return assign(space, lambda _, choice: rng.choice(choice.values))


@dataclass(frozen=True, slots=True)
class FamilyCount:
    """How many assignments a family has, and where they go."""

    name: str
    factors: tuple[tuple[str, int], ...]
    """Independent groups of choices and the number of their combinations; their product is `assignments`."""
    assignments: int
    excluded: Mapping[str, int]
    """Assignments left out, by reason."""

    @property
    def feasible(self) -> int:
        """Assignments that make a system."""
        return self.assignments - sum(self.excluded.values())

    @property
    def derivation(self) -> str:
        """The product as a sentence."""
        if not self.factors:
            return f"{self.name}: 1 system, no choices"
        product = " × ".join(f"{number} ({names})" for names, number in self.factors)
        return f"{self.name}: {product} = {self.assignments:,} assignments"


@dataclass(frozen=True, slots=True)
class SpaceCount:
    """The size of a space."""

    families: tuple[FamilyCount, ...]
    duplicates: int
    """Feasible assignments whose system another assignment makes too."""
    exact: bool
    """Whether duplicates were found by canonical hash (else by blueprint, which may miss some)."""

    @property
    def assignments(self) -> int:
        """All assignments."""
        return sum(family.assignments for family in self.families)

    @property
    def feasible(self) -> int:
        """Assignments that make a system."""
        return sum(family.feasible for family in self.families)

    @property
    def distinct(self) -> int:
        """Different systems."""
        return self.feasible - self.duplicates


def count(space: Space, rankings: Rankings | None = None) -> SpaceCount:
    """Counts the space by walking through it."""
    tally = _Tally(space, rankings)
    families = tuple(tally.family(family) for family in space.families)
    exact = len(tally.blueprints) <= EXACT
    feasible = sum(family.feasible for family in families)
    different = {made.architecture().hash for made in tally.blueprints.values() if made} if exact else tally.blueprints
    return SpaceCount(families, feasible - len(different), exact)


class _Tally:
    """Walks families; rules are checked once a skeleton, because they see nothing else."""

    def __init__(self, space: Space, rankings: Rankings | None) -> None:
        self.space, self.rankings = space, rankings
        self.blueprints: dict[object, Blueprint | None] = {}
        self._memo: Memo = {}
        self._rules: dict[object, str | None] = {}

    def family(self, family: Family) -> FamilyCount:
        """Counts one family."""
        excluded: Counter[str] = Counter()
        total = 0
        for chosen in _completed(family, {FAMILY: family.name}, list(family.choices.items())):
            total += 1
            reason = self._reason(chosen)
            if reason:
                excluded[reason] += 1
        return FamilyCount(family.name, tuple(_factors(family)), total, dict(sorted(excluded.items())))

    def _reason(self, chosen: Assignment) -> str | None:
        try:
            made = blueprint(self.space, chosen, self.rankings, self._memo)
        except Infeasible as error:
            return error.reason
        skeleton = made.skeleton
        if skeleton not in self._rules:
            self._rules[skeleton] = _broken(made)
        if self._rules[skeleton] is None:
            self.blueprints.setdefault(made.key, made if len(self.blueprints) <= EXACT else None)
        return self._rules[skeleton]


def _broken(made: Blueprint) -> str | None:
    try:
        made.architecture()
    except Infeasible as error:
        return error.reason
    return None


def _completed(family: Family, chosen: dict[str, Value], left: list[tuple[str, Choice]]) -> Iterator[dict[str, Value]]:
    if not left:
        yield chosen
        return
    (name, choice), rest = left[0], left[1:]
    if not holds(choice.when, chosen):
        yield from _completed(family, chosen, rest)
        return
    for value in choice.values:
        yield from _completed(family, {**chosen, name: value}, rest)


def _factors(family: Family) -> Iterator[tuple[str, int]]:
    """Groups of choices tied by conditions, with the number of their combinations."""
    groups: list[dict[str, Choice]] = []
    for name, choice in family.choices.items():
        tied = [group for group in groups if set(choice.when) & set(group)]
        joined = {key: value for group in tied for key, value in group.items()} | {name: choice}
        groups = [group for group in groups if group not in tied] + [joined]
    for group in groups:
        yield _group(family, group)


def _group(family: Family, group: Mapping[str, Choice]) -> tuple[str, int]:
    """A group's names and number; for tied choices, how the number divides by the first one's value."""
    made = list(_completed(family, {FAMILY: family.name}, list(group.items())))
    first = next(iter(group))
    if len(group) == 1:
        return first, len(made)
    parts = Counter(chosen[first] for chosen in made)
    shown = ", ".join(f"{number} with {first} {value}" for value, number in parts.items())
    return f"{', '.join(group)}: {shown}", len(made)
