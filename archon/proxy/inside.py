"""What a reader needs to look inside an answer: the graph as a picture, every node's part, the path of the answer that
won.

{"name", "hash", "output", "picture", "messages", "nodes", "calls", "notes", "usage", "path"}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from archon.architecture import Architecture
from archon.graph import check
from archon.picture import picture
from archon.trace import Trace
from archon.types import Message

_TEXTS = ("text", "critique", "reasoning", "tests")
"""Of a candidate; left out where a service keeps no texts."""


def document(
    architecture: Architecture, trace: Trace, messages: Sequence[Message], *, texts: bool = True
) -> dict[str, Any]:
    """A run as plain data for JSON.

    Args:
        texts: without, only figures: no conversation, candidate, critique or model's words.
    """
    drawn = drawing(architecture)
    told = trace.to_dict()
    found = {
        "name": architecture.name,
        "hash": architecture.hash,
        "output": architecture.output,
        "picture": drawn,
        "messages": [message.to_dict() for message in messages],
        "usage": {node: asdict(usage) for node, usage in trace.usage_by_node().items()},
        "path": path(told["nodes"], drawn["edges"], architecture.output),
        **told,
    }
    return found if texts else without_texts(found)


def drawing(architecture: Architecture) -> dict[str, Any]:
    """The picture of an architecture: boxes in pixels, edges as SVG paths that know what they join."""
    graph, drawn = check(architecture), picture(architecture)
    ends = [(source, node.id) for node in graph.nodes for source in node.inputs]
    return {
        "width": drawn.width,
        "height": drawn.height,
        "words": drawn.words,
        "boxes": [asdict(box) for box in drawn.boxes],
        "edges": [
            {"path": line, "source": source, "target": target}
            for line, (source, target) in zip(drawn.edges, ends, strict=True)
        ],
    }


def path(nodes: Sequence[Mapping[str, Any]], edges: Iterable[Mapping[str, Any]], output: str) -> dict[str, Any]:
    """Where the answer that won came from.

    The first candidate of the output node and everything it was made from; the nodes that gave or passed one of these
    on; the edges they went along.
    """
    known = {candidate["id"]: candidate for node in nodes for candidate in node["candidates"]}
    given = {node["id"]: [candidate["id"] for candidate in node["candidates"]] for node in nodes}
    first = given.get(output, [])[:1]
    family = _ancestors(first, known)
    sources: dict[str, list[str]] = {}
    for edge in edges:
        sources.setdefault(edge["target"], []).append(edge["source"])
    reached, waiting = {output}, [output]
    while waiting:
        for source in sources.get(waiting.pop(), []):
            if source not in reached and family.intersection(given.get(source, ())):
                reached.add(source)
                waiting.append(source)
    walked = [[source, target] for target in reached for source in sources.get(target, []) if source in reached]
    return {"answer": first[0] if first else None, "candidates": sorted(family), "nodes": sorted(reached),
            "edges": sorted(walked)}  # fmt: skip


def without_texts(found: Mapping[str, Any]) -> dict[str, Any]:
    """A document's figures alone."""
    nodes = [{**node, "candidates": [_bare(candidate) for candidate in node["candidates"]]} for node in found["nodes"]]
    calls = [{**call, "text": ""} for call in found["calls"]]
    notes = [{**note, "message": "", "data": {}} for note in found["notes"]]
    return {**found, "messages": [], "nodes": nodes, "calls": calls, "notes": notes}


def _bare(candidate: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in candidate.items() if name not in _TEXTS}


def _ancestors(first: Iterable[str], known: Mapping[str, Mapping[str, Any]]) -> set[str]:
    family, waiting = set(first), list(first)
    while waiting:
        for parent in known.get(waiting.pop(), {}).get("parents", ()):
            if parent not in family:
                family.add(parent)
                waiting.append(parent)
    return family
