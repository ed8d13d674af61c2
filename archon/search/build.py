"""From an assignment of choices to an architecture: realises a family's template and says why it may not be built.

Systems that break a limit or a construction rule, or that are no graph, are `Infeasible`: they are left out of the
space. Nothing is called here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archon import registry
from archon.architecture import Architecture, Node, Rule
from archon.errors import ArchitectureError
from archon.graph import check
from archon.protocols import Plan
from archon.search.space import AnyOf, Choice, Family, Models, Ranking, Space, Stage, SubsetOf, Top, Value, stage_ids

FAMILY = "family"
Assignment = Mapping[str, Value]
"""Values by choice, the family's name under "family"; choices whose condition does not hold are absent."""
Rankings = Mapping[Ranking, Sequence[str]]
Picker = Callable[[str, Choice], Value]
"""Chooses one value of a choice; the key names family and choice."""


class Infeasible(Exception):
    """An assignment that makes no system of the space; `reason` is a short phrase for counting."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Group:
    """The nodes of one stage: one a model row."""

    id: str
    layer: str
    rows: tuple[tuple[tuple[str, str], ...], ...]
    """Model ids by parameter, one row a node."""
    params: tuple[tuple[str, Any], ...]
    inputs: tuple[str, ...]
    """Ids of groups."""

    def node_ids(self) -> tuple[str, ...]:
        """One id a node."""
        return (self.id,) if len(self.rows) == 1 else tuple(f"{self.id}_{n}" for n in range(1, 1 + len(self.rows)))

    def nodes(self, inputs: tuple[str, ...]) -> list[Node]:
        """The architecture's nodes."""
        made = []
        for node_id, row in zip(self.node_ids(), self.rows, strict=True):
            model = row[0][1] if [name for name, _ in row] == ["model"] else dict(row) or None
            made.append(Node(id=node_id, layer=self.layer, model=model, params=dict(self.params), inputs=inputs))
        return made


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A realised template within the limits; rules are checked by `architecture`."""

    groups: tuple[Group, ...]
    """The last one holds the output."""
    calls: int
    """Model calls a question, as planned for the normal case."""
    lift: tuple[Rule, ...]

    @property
    def key(self) -> object:
        """Equal for blueprints that are alike part by part."""
        return repr(self.groups)

    @property
    def skeleton(self) -> object:
        """Equal for blueprints with like layers in like places, alone or not: the construction rules see no more."""
        return tuple((group.id, group.layer, len(group.rows) > 1, group.inputs) for group in self.groups)

    def architecture(self) -> Architecture:
        """The checked architecture. Raises Infeasible when a construction rule is broken."""
        ids = {group.id: group.node_ids() for group in self.groups}
        nodes = [
            node
            for group in self.groups
            for node in group.nodes(tuple(each for source in group.inputs for each in ids[source]))
        ]
        made = Architecture(nodes=tuple(nodes), output=self.groups[-1].id, lift=self.lift)
        try:
            check(made)
        except ArchitectureError as error:
            raise Infeasible("a construction rule is broken", str(error)) from None
        return made


Memo = dict[object, tuple[Group, Plan]]
"""Stages already planned, for `blueprint`."""


def assign(space: Space, pick: Picker) -> dict[str, Value]:
    """An assignment, each choice made by `pick` in the order of the file, conditional ones only where they apply."""
    chosen: dict[str, Value] = {FAMILY: pick(FAMILY, AnyOf(any_of=tuple(family.name for family in space.families)))}
    family = space.family(str(chosen[FAMILY]))
    for name, choice in family.choices.items():
        if holds(choice.when, chosen):
            chosen[name] = pick(f"{family.name}.{name}", choice)
    return chosen


def holds(when: Mapping[str, Sequence[Value]], chosen: Assignment) -> bool:
    """Whether every condition is met; a choice that was not made meets none."""
    return all(name in chosen and chosen[name] in values for name, values in when.items())


def architecture(space: Space, chosen: Assignment, rankings: Rankings | None = None) -> Architecture:
    """The architecture of an assignment. Raises Infeasible."""
    return blueprint(space, chosen, rankings).architecture()


def blueprint(
    space: Space, chosen: Assignment, rankings: Rankings | None = None, memo: Memo | None = None
) -> Blueprint:
    """The realised template, its limits checked but not yet its rules. Raises Infeasible.

    Args:
        memo: remembers stages; pass one along where many blueprints of one space are made.
    """
    family = space.family(str(chosen[FAMILY]))
    _check_sets(family, chosen)
    ranked = rankings if rankings is not None else space.rankings
    draft = _Draft(space, family, chosen, ranked, memo if memo is not None else {})
    for stage_id, stage in zip(stage_ids(family), family.stages, strict=True):
        draft.add(stage_id, stage)
    return draft.finished()


def _check_sets(family: Family, chosen: Assignment) -> None:
    """Sets are proposed as one yes/no a model, so a proposal may be too small or too large."""
    for name, value in chosen.items():
        choice = family.choices.get(name)
        size = len(value) if isinstance(value, tuple) else 0
        if isinstance(choice, SubsetOf) and not choice.at_least <= size <= choice.most:
            raise Infeasible("a set of models is too small or too large", f"{size} models in {name!r}")


@dataclass(slots=True)
class _Draft:
    space: Space
    family: Family
    chosen: Assignment
    rankings: Rankings
    memo: Memo
    groups: list[Group] = field(default_factory=list)
    ports: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Groups that stand for a stage: its own, or its inputs' where it is left out."""
    candidates: dict[str, int] = field(default_factory=dict)
    """That leave a group."""
    calls: int = 0
    last: tuple[str, ...] = ()

    def add(self, stage_id: str, stage: Stage) -> None:
        """Adds a stage's nodes, or hands its inputs on."""
        sources = self._sources(stage)
        if not stage.when or holds(stage.when, self.chosen):
            incoming = sum(self.candidates[source] for source in sources)
            if incoming >= stage.skip_below:
                self._check_candidates(stage, sources, incoming)
                sources = self._added(stage_id, stage, sources, incoming)
        self.ports[stage_id] = self.last = sources

    def finished(self) -> Blueprint:
        """The blueprint. Raises Infeasible when there is not exactly one output or a stage leads nowhere."""
        if len(self.last) != 1 or len(self.groups[-1].rows) != 1 or self._undecided():
            raise Infeasible("several answers are left at the end and nothing chooses")
        if self.last[0] != self.groups[-1].id or not self._all_used():
            raise Infeasible("a stage leads nowhere")
        return Blueprint(tuple(self.groups), self.calls, self.space.lift)

    def _undecided(self) -> bool:
        """Whether the last layer draws several answers, all but the first for nothing."""
        last = self.groups[-1]
        return self.candidates[last.id] > 1 and registry.layer_class(last.layer).traits.draws

    def _all_used(self) -> bool:
        used = set(self.last)
        for group in reversed(self.groups):
            if group.id in used:
                used.update(group.inputs)
        return len(used) == len(self.groups)

    def _sources(self, stage: Stage) -> tuple[str, ...]:
        if stage.inputs is None:
            return self.last
        return tuple(dict.fromkeys(group for name in stage.inputs for group in self.ports[name]))

    def _added(self, stage_id: str, stage: Stage, sources: tuple[str, ...], incoming: int) -> tuple[str, ...]:
        params = tuple((name, self._value(value)) for name, value in stage.params.items())
        group, plan = self._planned(Group(stage_id, stage.layer, self._rows(stage), params, sources), incoming)
        self.groups.append(group)
        self.candidates[stage_id] = plan.candidates
        self.calls += plan.calls
        most = self.space.limits.calls
        if most is not None and self.calls > most:
            raise Infeasible(f"more than {most} calls a question")
        return (stage_id,)

    def _planned(self, group: Group, incoming: int) -> tuple[Group, Plan]:
        key = (group.layer, incoming, group.rows, repr(group.params), group.id, group.inputs)
        if key not in self.memo:
            self.memo[key] = (group, self._plan(group, incoming))
        return self.memo[key]

    def _plan(self, group: Group, incoming: int) -> Plan:
        try:
            plans = [
                registry.build_layer(group.layer, dict((*group.params, *row))).plan(incoming) for row in group.rows
            ]
        except ArchitectureError as error:
            raise ArchitectureError(f"{self._where}: {error}") from None
        return Plan(sum(plan.calls for plan in plans), sum(plan.candidates for plan in plans))

    def _check_candidates(self, stage: Stage, sources: tuple[str, ...], incoming: int) -> None:
        most = self.space.limits.candidates
        if sources and most is not None and incoming > most:
            raise Infeasible(f"more than {most} candidates reach a layer", f"{incoming} reach {stage.layer}")

    def _rows(self, stage: Stage) -> tuple[tuple[tuple[str, str], ...], ...]:
        """Model ids by parameter, one row a node."""
        if isinstance(stage.model, dict):
            return (tuple((role, self._single(stage, wanted)) for role, wanted in stage.model.items()),)
        if stage.model is not None:
            return ((("model", self._single(stage, stage.model)),),)
        if stage.models is None:
            return ((),)
        return tuple((("model", model),) for model in self._several(stage.models))

    def _single(self, stage: Stage, wanted: Models) -> str:
        found = self._several(wanted)
        if len(found) != 1:
            raise ArchitectureError(
                f"{self._where}: stage {stage.layer!r} has `model`, which is one model, but {len(found)} are chosen; "
                "write `models` for one node each"
            )
        return found[0]

    def _several(self, wanted: Models) -> tuple[str, ...]:
        if isinstance(wanted, Top):
            ranked, count = self.rankings[wanted.by], self._value(wanted.top)
            if count > len(ranked):
                raise Infeasible(f"more {wanted.by} asked for than are ranked")
            return tuple(ranked[:count])
        values = self._value(wanted) if isinstance(wanted, str) else wanted
        return tuple(values) if isinstance(values, tuple | list) else (str(values),)

    def _value(self, given: Any) -> Any:
        return self.chosen[given[1:]] if isinstance(given, str) and given.startswith("$") else given

    @property
    def _where(self) -> str:
        return f"space {self.space.name!r}, family {self.family.name!r}"
