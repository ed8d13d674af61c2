"""The canonical form of an architecture: one system, one form, one hash, one behaviour.

Equal systems have equal forms: node names, key order, defaults written out or left out and the order of inputs do not
count, and sibling nodes that differ only in `samples` are one node with the sum (`G(2) | G(3)` = `G(5)`). The executor
runs the canonical form, so equal hashes mean equal draws.

The order of nodes is found by colour refinement (Weisfeiler–Leman) with individualisation of ties: every way to break
the ties is tried, up to `_LEAVES` of them, and the least form is taken. More ways than that are seen only in graphs
whose tied nodes are interchangeable, where each way gives the same form, or that are regular beyond what refinement can
tell apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any, Protocol

from archon import registry
from archon.errors import ArchitectureError, ConfigError
from archon.protocols import Layer
from archon.types import canonical_json, stable_hash

_LEAVES = 64


class SupportsNode(Protocol):
    """What this file needs of a node (archon.architecture.Node has it)."""

    @property
    def id(self) -> str: ...
    @property
    def layer(self) -> str: ...
    @property
    def arguments(self) -> dict[str, Any]: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class CanonicalNode:
    """A node of the canonical form, with what running it needs."""

    id: str
    """The user's id, or several joined with "+" where siblings were merged."""
    name: str
    """The layer's name."""
    layer: Layer
    arguments: Mapping[str, Any]
    """Every parameter, defaults written out."""
    inputs: tuple[str, ...]
    base: int = 0
    """First sample index of its draws: sibling nodes that make the same request never repeat one."""

    @property
    def samples(self) -> int:
        """How many draws of one request it may make: the sample indices it takes for itself."""
        samples = self.arguments.get("samples", 1)
        return samples if isinstance(samples, int) else 1

    @property
    def request_key(self) -> str:
        """Equal for nodes that may make the same request, apart from their inputs."""
        rest = {
            key: value for key, value in self.arguments.items() if not (key == "samples" and self.layer.traits.draws)
        }
        return canonical_json([self.name, rest])

    @property
    def draw_key(self) -> str:
        """Equal for nodes that draw one request from the same inputs, however many draws each makes or needs."""
        rest = {key: value for key, value in self.arguments.items() if key not in ("samples", "quorum")}
        return canonical_json([self.name, rest, self.inputs])


def nodes(given: Sequence[SupportsNode], output: str) -> tuple[CanonicalNode, ...]:
    """The nodes in canonical order (inputs before consumers), siblings merged, inputs sorted, bases assigned.

    Raises:
        ArchitectureError: an unknown layer, parameter or input, or a cycle.
    """
    _check_inputs(given, output)
    merged = _merge_siblings({node.id: _canonical(node) for node in given})
    order = _ordered(merged, output)
    rank = {node_id: index for index, node_id in enumerate(order)}
    sorted_inputs = (
        replace(merged[node_id], inputs=tuple(sorted(merged[node_id].inputs, key=rank.__getitem__)))
        for node_id in order
    )
    return tuple(_with_bases(sorted_inputs))


def form(ordered: Sequence[CanonicalNode], output: str) -> dict[str, Any]:
    """Canonical nodes as plain data, named by their position."""
    position = {node.id: index for index, node in enumerate(ordered)}
    return {
        "nodes": [
            {
                "layer": node.name,
                "arguments": dict(node.arguments),
                "inputs": [position[source] for source in node.inputs],
            }
            for node in ordered
        ],
        "output": position[output],
    }


def _check_inputs(given: Sequence[SupportsNode], output: str) -> None:
    known = {node.id for node in given}
    for node in given:
        for source in node.inputs:
            if source not in known:
                raise ArchitectureError(
                    f"node {node.id!r}: input {source!r} is no node; known: {', '.join(sorted(known))}"
                )
    if output not in known:
        raise ArchitectureError(f"output {output!r} is no node; known: {', '.join(sorted(known))}")
    sorter = TopologicalSorter({node.id: node.inputs for node in given})
    try:
        sorter.prepare()
    except CycleError as error:
        cycle = " → ".join(reversed(error.args[1]))
        raise ArchitectureError(f"the nodes {cycle} form a cycle; remove one of these inputs") from None


def _canonical(node: SupportsNode) -> CanonicalNode:
    try:
        layer = registry.build_layer(node.layer, node.arguments)
    except ConfigError as error:
        raise ArchitectureError(f"node {node.id!r}: {error}") from None
    name = registry.short_name("layers", node.layer)
    return CanonicalNode(node.id, name, layer, asdict(layer), node.inputs)  # type: ignore[call-overload]


def _merge_siblings(found: dict[str, CanonicalNode]) -> dict[str, CanonicalNode]:
    """Merges nodes that draw the same request for the same consumers, until none are left."""
    while pair := _siblings(found):
        first, second = (found[node_id] for node_id in pair)
        arguments = {**first.arguments, "samples": first.samples + second.samples}
        layer = replace(first.layer, samples=arguments["samples"])  # type: ignore[type-var]
        joined = CanonicalNode(f"{first.id}+{second.id}", first.name, layer, arguments, first.inputs)
        found = _renamed(found, set(pair), joined)
    return found


def _siblings(found: Mapping[str, CanonicalNode]) -> tuple[str, str] | None:
    consumers = _consumers(found)
    seen: dict[str, str] = {}
    for node_id, node in found.items():
        if not (node.layer.traits.draws and consumers[node_id]):
            continue
        key = canonical_json([node.request_key, sorted(node.inputs), sorted(consumers[node_id])])
        if key in seen:
            return seen[key], node_id
        seen[key] = node_id
    return None


def _renamed(found: dict[str, CanonicalNode], gone: set[str], joined: CanonicalNode) -> dict[str, CanonicalNode]:
    result: dict[str, CanonicalNode] = {}
    for node_id, node in found.items():
        if node_id in gone:
            result.setdefault(joined.id, joined)
            continue
        inputs = dict.fromkeys(joined.id if source in gone else source for source in node.inputs)
        result[node_id] = replace(node, inputs=tuple(inputs))
    return result


def _consumers(found: Mapping[str, CanonicalNode]) -> dict[str, list[str]]:
    consumers: dict[str, list[str]] = {node_id: [] for node_id in found}
    for node in found.values():
        for source in node.inputs:
            consumers[source].append(node.id)
    return consumers


def _ordered(found: Mapping[str, CanonicalNode], output: str) -> list[str]:
    """Ids in canonical order: by stage, then by final colour."""
    stage = _stages(found)
    start = {
        node_id: stable_hash([stage[node_id], node.request_key, node.samples, node_id == output])
        for node_id, node in found.items()
    }
    best: tuple[str, list[str]] | None = None
    for leaf, colours in enumerate(_discrete(found, _refined(found, start))):
        order = sorted(found, key=lambda node_id: (stage[node_id], colours[node_id]))
        position = {node_id: index for index, node_id in enumerate(order)}
        shape = canonical_json([[start[n], sorted(position[source] for source in found[n].inputs)] for n in order])
        if best is None or shape < best[0]:
            best = (shape, order)
        if leaf + 1 >= _LEAVES:
            break
    assert best is not None
    return best[1]


def _stages(found: Mapping[str, CanonicalNode]) -> dict[str, int]:
    """Longest distance from a root. Needs an acyclic graph."""
    stage: dict[str, int] = {}

    def visit(node_id: str) -> int:
        if node_id not in stage:
            stage[node_id] = 1 + max((visit(source) for source in found[node_id].inputs), default=-1)
        return stage[node_id]

    for node_id in found:
        visit(node_id)
    return stage


def _refined(found: Mapping[str, CanonicalNode], colours: dict[str, str]) -> dict[str, str]:
    """Colours refined by those of inputs and consumers until the classes are stable."""
    consumers = _consumers(found)
    while True:
        finer = {
            node_id: stable_hash(
                [
                    colours[node_id],
                    sorted(colours[source] for source in node.inputs),
                    sorted(colours[target] for target in consumers[node_id]),
                ]
            )
            for node_id, node in found.items()
        }
        if len(set(finer.values())) == len(set(colours.values())):
            return finer
        colours = finer


def _discrete(found: Mapping[str, CanonicalNode], colours: dict[str, str]) -> Iterator[dict[str, str]]:
    """Colourings without ties that refine `colours`."""
    classes: dict[str, list[str]] = defaultdict(list)
    for node_id, colour in colours.items():
        classes[colour].append(node_id)
    tied = sorted(colour for colour, members in classes.items() if len(members) > 1)
    if not tied:
        yield colours
        return
    for member in classes[tied[0]]:
        yield from _discrete(found, _refined(found, {**colours, member: stable_hash([colours[member], "first"])}))


def _with_bases(ordered: Iterator[CanonicalNode]) -> Iterator[CanonicalNode]:
    taken: dict[str, int] = defaultdict(int)
    for node in ordered:
        key = node.draw_key
        yield replace(node, base=taken[key])
        taken[key] += node.samples
