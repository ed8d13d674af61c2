"""A layered picture of an architecture: one column a stage, one box a node, curves between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archon.architecture import Architecture
from archon.canonical import CanonicalNode
from archon.graph import Graph, check
from archon.registry import parameters

BOX_WIDTH, GAP_X, GAP_Y, MARGIN = 190, 56, 18, 10
LINE, PADDING = 17, 10


@dataclass(frozen=True, slots=True)
class Box:
    """A node's place and words."""

    id: str
    kind: str
    lines: tuple[str, ...]
    """The layer, then its models and settings."""
    x: int
    y: int
    height: int
    output: bool

    @property
    def rows(self) -> list[tuple[int, str]]:
        """(baseline, text) of each line below the title."""
        return [(self.y + PADDING + LINE * (n + 1) - 4, text) for n, text in enumerate(self.lines)]


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything to draw."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    edges: tuple[str, ...]
    """SVG paths."""
    words: str
    """The graph in one sentence, for readers who do not see it."""


def picture(architecture: Architecture) -> Picture:
    """Lays an architecture out, inputs on the left."""
    graph = check(architecture)
    columns = _columns(graph)
    height = max(sum(_height(node) + GAP_Y for node in column) - GAP_Y for column in columns) + 2 * MARGIN
    boxes: dict[str, Box] = {}
    for stage, column in enumerate(columns):
        y = (height - (sum(_height(node) + GAP_Y for node in column) - GAP_Y)) // 2
        for node in column:
            output = node.id == architecture.output
            lines = _lines(node)
            x = MARGIN + stage * (BOX_WIDTH + GAP_X)
            boxes[node.id] = Box(node.id, node.layer.traits.kind, lines, x, y, _height(node), output)
            y += _height(node) + GAP_Y
    edges = [_edge(boxes[source], boxes[node.id]) for node in graph.nodes for source in node.inputs]
    width = 2 * MARGIN + len(columns) * (BOX_WIDTH + GAP_X) - GAP_X
    return Picture(width, height, tuple(boxes.values()), tuple(edges), _words(graph))


def _columns(graph: Graph) -> list[list[CanonicalNode]]:
    """Nodes by stage, each column ordered by the mean place of its inputs, which keeps most edges from crossing."""
    columns: list[list[CanonicalNode]] = [[] for _ in range(1 + max(graph.stage.values()))]
    place: dict[str, float] = {}
    for node in graph.nodes:
        columns[graph.stage[node.id]].append(node)
    for column in columns:
        column.sort(key=lambda node: sum(place[s] for s in node.inputs) / max(1, len(node.inputs)))
        place.update({node.id: index - (len(column) - 1) / 2 for index, node in enumerate(column)})
    return columns


def _lines(node: CanonicalNode) -> tuple[str, ...]:
    samples = f" × {node.samples}" if node.samples > 1 else ""
    models = dict.fromkeys(str(node.arguments[role]) for role in node.layer.traits.models if node.arguments.get(role))
    return (f"{node.name.replace('_', ' ')}{samples}", *map(_short, models), *_settings(node))


def _settings(node: CanonicalNode) -> list[str]:
    """Parameters that differ from their defaults, as a line or two."""
    defaults, hidden = parameters(node.name), {"samples", *node.layer.traits.models}
    changed = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in node.arguments.items()
        if name not in hidden and value != defaults.get(name) and not (isinstance(value, str) and len(value) > 20)
    ]
    return [_short(", ".join(changed[at : at + 2])) for at in range(0, min(len(changed), 4), 2)]


def _short(text: str) -> str:
    """The end of a long name says more than its beginning."""
    return text if len(text) <= 25 else "…" + text[-24:]


def _height(node: CanonicalNode) -> int:
    return 2 * PADDING + LINE * len(_lines(node)) - 4


def _edge(source: Box, target: Box) -> str:
    x1, y1 = source.x + BOX_WIDTH, source.y + source.height // 2
    x2, y2 = target.x - 5, target.y + target.height // 2
    bend = max(30, (x2 - x1) // 2)
    return f"M{x1},{y1}C{x1 + bend},{y1} {x2 - bend},{y2} {x2},{y2}"


def _words(graph: Graph) -> str:
    stages: list[str] = []
    for index in range(1 + max(graph.stage.values())):
        members: Sequence[CanonicalNode] = [node for node in graph.nodes if graph.stage[node.id] == index]
        stages.append(" and ".join(" ".join(_lines(node)) for node in members))
    return "; then ".join(stages)
