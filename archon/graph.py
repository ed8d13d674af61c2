"""Whether an architecture can be built, and what it will do: validation, the construction rules, plans.

The construction rules are the paper's (arXiv 2409.15254, section 3.2), stated over *stages*: the stage of a node is its
longest distance from a root. Each can be lifted by name (`lift:` in an architecture or a space).

    one_kind_per_stage    all layers of a stage are of one kind
    generators_first      generators stand in the first stage only, and there is at least one
    critic_before         a critic is followed by a ranker or a fuser
    alone                 ranker, critic, verifier and unit-test layers are never first and are alone in their stage
    fusers_not_first      fusers stand anywhere but first
    tests_then_evaluator  a unit-test generator stands directly before its evaluator
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import networkx as nx

from archon.architecture import Architecture
from archon.canonical import CanonicalNode
from archon.errors import ArchitectureError
from archon.protocols import Plan

Stage = Mapping[str, int]
Nodes = tuple[CanonicalNode, ...]

_JUDGES = frozenset({"ranker", "critic", "verifier", "tests", "tests_evaluator"})
"""Kinds that choose and annotate candidates and write none."""
_ALONE = frozenset({"ranker", "critic", "verifier", "tests", "tests_evaluator"})


@dataclass(frozen=True, slots=True)
class GraphPlan:
    """What running an architecture once will do: upper bounds."""

    calls: int
    candidates: int
    """Candidates that leave the output node."""
    nodes: Mapping[str, Plan]
    """By canonical node id."""
    incoming: Mapping[str, int]
    """Candidates that reach each node."""
    stages: int
    """Number of stages; the longest chain of nodes."""


@dataclass(frozen=True)
class Graph:
    """A checked architecture in canonical order, ready to run."""

    architecture: Architecture
    nodes: tuple[CanonicalNode, ...]
    stage: Mapping[str, int]

    @property
    def runs_code(self) -> bool:
        """Whether a node runs code that a model writes, so that a run needs a sandbox."""
        return any(getattr(node.layer, "runs_code", False) for node in self.nodes)

    def node(self, node_id: str) -> CanonicalNode:
        """The canonical node of that id."""
        return next(node for node in self.nodes if node.id == node_id)


def check(architecture: Architecture) -> Graph:
    """The architecture as a graph that can be run.

    Raises:
        ArchitectureError: names the node, the rule and the fix.
    """
    _check_names(architecture)
    nodes = architecture.canonical_nodes
    _check_reach(architecture)
    broken = broken_rule(nodes, architecture.lift)
    if broken:
        rule, message = broken
        raise ArchitectureError(f"{message} [rule {rule}; it can be lifted with lift: [{rule}]]")
    return Graph(architecture, nodes, _stages(nodes))


def writers(graph: Graph) -> frozenset[str]:
    """The nodes in whose own words the answer is: those that write candidates with no other writer behind them."""
    found: set[str] = set()
    waiting = [graph.architecture.output]
    while waiting:
        node = graph.node(waiting.pop())
        if node.layer.traits.kind in _JUDGES or not node.layer.traits.models:
            waiting.extend(node.inputs)
        else:
            found.add(node.id)
    return frozenset(found)


def broken_rule(nodes: Nodes, lifted: Collection[str] = ()) -> tuple[str, str] | None:
    """The first construction rule that is broken and not lifted, with the place and the fix; None = all hold."""
    stage = _stages(nodes)
    for rule, find in _RULES.items():
        if rule in lifted:
            continue
        for message in find(nodes, stage):
            return rule, message
    return None


def plan(architecture: Architecture) -> GraphPlan:
    """Calls and candidates of one run, as upper bounds, without any call."""
    graph = check(architecture)
    plans: dict[str, Plan] = {}
    incoming: dict[str, int] = {}
    for node in graph.nodes:
        incoming[node.id] = sum(plans[source].candidates for source in node.inputs)
        plans[node.id] = node.layer.plan(incoming[node.id])
    output = plans[architecture.output]
    calls = sum(each.calls for each in plans.values())
    return GraphPlan(calls, output.candidates, plans, incoming, 1 + max(graph.stage.values()))


def _check_names(architecture: Architecture) -> None:
    ids = [node.id for node in architecture.nodes]
    twice = sorted({node_id for node_id in ids if ids.count(node_id) > 1})
    if twice:
        raise ArchitectureError(f"node {twice[0]!r} is defined twice; give every node an id of its own")
    for node in architecture.nodes:
        if len(set(node.inputs)) < len(node.inputs):
            raise ArchitectureError(f"node {node.id!r}: an input is named twice; name each once")
        clash = set(node.models) & set(node.params)
        if clash:
            raise ArchitectureError(
                f"node {node.id!r}: {sorted(clash)[0]!r} is given as model and as parameter; keep one"
            )


def _check_reach(architecture: Architecture) -> None:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(node.id for node in architecture.nodes)
    graph.add_edges_from((source, node.id) for node in architecture.nodes for source in node.inputs)
    useful = nx.ancestors(graph, architecture.output) | {architecture.output}
    for node in architecture.nodes:
        if node.id not in useful:
            raise ArchitectureError(
                f"node {node.id!r} does not lead to the output {architecture.output!r}; connect it or remove it"
            )


def _stages(nodes: tuple[CanonicalNode, ...]) -> dict[str, int]:
    stage: dict[str, int] = {}
    for node in nodes:
        stage[node.id] = 1 + max((stage[source] for source in node.inputs), default=-1)
    return stage


def _kind(node: CanonicalNode) -> str:
    return node.layer.traits.kind


def _by_stage(nodes: Nodes, stage: Stage) -> list[list[CanonicalNode]]:
    groups: dict[int, list[CanonicalNode]] = defaultdict(list)
    for node in nodes:
        groups[stage[node.id]].append(node)
    return [groups[index] for index in sorted(groups)]


def _consumers(nodes: Nodes, node: CanonicalNode) -> list[CanonicalNode]:
    return [other for other in nodes if node.id in other.inputs]


def _one_kind(nodes: Nodes, stage: Stage) -> Iterator[str]:
    for group in _by_stage(nodes, stage):
        for node in group:
            if _kind(node) != _kind(group[0]):
                yield (
                    f"node {node.id!r} ({node.name}) stands in one stage with {group[0].id!r} ({group[0].name}); "
                    "a stage holds one kind of layer"
                )


def _generators_first(nodes: Nodes, stage: Stage) -> Iterator[str]:
    for node in nodes:
        if _kind(node) == "generator" and stage[node.id] > 0:
            yield f"node {node.id!r} ({node.name}) is not in the first stage; generators take no inputs"
    if not any(_kind(node) == "generator" and stage[node.id] == 0 for node in nodes):
        yield "no generator in the first stage; start with at least one"


def _critic_before(nodes: Nodes, stage: Stage) -> Iterator[str]:
    for node in nodes:
        if _kind(node) != "critic":
            continue
        if not any(_kind(other) in ("ranker", "fuser") for other in _consumers(nodes, node)):
            yield f"node {node.id!r} ({node.name}) is not followed by a ranker or fuser, so nothing reads its critiques"


def _alone(nodes: Nodes, stage: Stage) -> Iterator[str]:
    for group in _by_stage(nodes, stage):
        for node in group:
            if _kind(node) not in _ALONE:
                continue
            if stage[node.id] == 0:
                yield f"node {node.id!r} ({node.name}) is in the first stage; give it candidates to work on"
            if len(group) > 1:
                other = next(each for each in group if each is not node)
                yield f"node {node.id!r} ({node.name}) shares its stage with {other.id!r}; it must be alone there"


def _fusers_not_first(nodes: Nodes, stage: Stage) -> Iterator[str]:
    for node in nodes:
        if _kind(node) == "fuser" and stage[node.id] == 0:
            yield f"node {node.id!r} ({node.name}) is in the first stage; give it candidates to work on"


def _tests_then_evaluator(nodes: Nodes, stage: Stage) -> Iterator[str]:
    by_id = {node.id: node for node in nodes}
    for node in nodes:
        if _kind(node) == "tests" and [_kind(each) for each in _consumers(nodes, node)] != ["tests_evaluator"]:
            yield f"node {node.id!r} ({node.name}) must be followed by a unit-test evaluator and nothing else"
        if _kind(node) == "tests_evaluator" and [_kind(by_id[s]) for s in node.inputs] != ["tests"]:
            yield f"node {node.id!r} ({node.name}) must directly follow a unit-test generator"


_RULES: Mapping[str, Callable[[Nodes, Stage], Iterator[str]]] = {
    "generators_first": _generators_first,
    "fusers_not_first": _fusers_not_first,
    "alone": _alone,
    "one_kind_per_stage": _one_kind,
    "critic_before": _critic_before,
    "tests_then_evaluator": _tests_then_evaluator,
}
