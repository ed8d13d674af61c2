"""An architecture as a picture in text: stages as lines for the terminal, or a Mermaid flowchart."""

from __future__ import annotations

import re
from typing import Any

from archon import registry
from archon.architecture import Architecture, Node
from archon.graph import Graph, check


def text(architecture: Architecture) -> str:
    """One line a node, grouped by stage; `←` lists the inputs where they are not simply the whole stage before."""
    graph = check(architecture)
    lines = []
    for index in range(1 + max(graph.stage.values())):
        members = [node for node in graph.nodes if graph.stage[node.id] == index]
        for node in members:
            models = [str(node.arguments[role]) for role in node.layer.traits.models if node.arguments.get(role)]
            label = _label(node.name, list(dict.fromkeys(models)), _changed(node.name, dict(node.arguments)))
            lines.append(f"{index + 1:>2}  {label}{_inputs(graph, node.id, index)}")
    return "\n".join(lines)


def mermaid(architecture: Architecture) -> str:
    """A Mermaid flowchart. Labels are quoted and stripped of what could end the quotation."""
    check(architecture)
    position = {node.id: f"n{index}" for index, node in enumerate(architecture.nodes)}
    lines = ["flowchart LR"]
    for node in architecture.nodes:
        shown = _safe(_label(node.layer, list(dict.fromkeys(node.models.values())), _given(node)))
        lines.append(f'  {position[node.id]}["{shown}"]')
    lines += [f"  {position[s]} --> {position[node.id]}" for node in architecture.nodes for s in node.inputs]
    return "\n".join(lines)


def _label(layer: str, models: list[str], params: dict[str, Any]) -> str:
    settings = ", ".join(f"{key}={value}" for key, value in params.items())
    return " ".join(part for part in (layer, " + ".join(models), f"({settings})" if settings else "") if part)


def _given(node: Node) -> dict[str, Any]:
    return {key: value for key, value in node.params.items() if not _long(value)}


def _changed(layer: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments that differ from their defaults, without models and long texts."""
    defaults = registry.parameters(layer)
    models = registry.layer_class(layer).traits.models
    return {
        key: value
        for key, value in arguments.items()
        if key not in models and value != defaults.get(key) and not _long(value)
    }


def _long(value: object) -> bool:
    return isinstance(value, str) and len(value) > 30


def _inputs(graph: Graph, node_id: str, index: int) -> str:
    before = {other.id for other in graph.nodes if graph.stage[other.id] == index - 1}
    inputs = graph.node(node_id).inputs
    return "" if set(inputs) == before else f"  ← {', '.join(inputs)}" if inputs else ""


def _safe(label: str) -> str:
    return re.sub(r'["\[\]<>#`]', "'", label).replace("\n", " ")
