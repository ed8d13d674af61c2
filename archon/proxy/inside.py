"""What a reader needs to look inside an answer: the graph as a picture, every node's part, the path of the winning
answer.

`document` is what is kept of a request; `view` draws it, when somebody looks.

    {"architecture", "messages", "runs": [{"answer": {"candidate", "text"}, "usage", "nodes", "calls", "notes"}]}
    + {"name", "hash", "output", "picture"} and a "path" in every run
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from archon.architecture import Architecture
from archon.errors import ArchonError
from archon.executor import Result
from archon.graph import check
from archon.picture import picture
from archon.trace import Trace
from archon.types import Message

_TEXTS = ("text", "critique", "reasoning", "tests")
"""Of a candidate; left out where a service keeps no texts."""


def document(
    architecture: Architecture,
    messages: Sequence[Message],
    traces: Sequence[Trace],
    results: Sequence[Result] = (),
    *,
    texts: bool = True,
) -> dict[str, Any]:
    """The runs of one request as plain data for JSON.

    Args:
        traces: of all runs.
        results: of the runs, in the same order; fewer or none where they failed.
        texts: without, only figures: no conversation, candidate, critique or model's words.
    """
    answers = [*results, *[None] * (len(traces) - len(results))]
    runs = [_run(trace, result) for trace, result in zip(traces, answers, strict=True)]
    return {
        "architecture": architecture.to_dict(),
        "messages": [message.to_dict() for message in messages] if texts else [],
        "runs": runs if texts else [without_texts(run) for run in runs],
    }


def view(kept: Mapping[str, Any]) -> dict[str, Any]:
    """A document with its picture and the path of each run's answer; as it is where it has no graph, or one of layers
    that are not installed any more."""
    if "architecture" not in kept:
        return dict(kept)
    architecture = Architecture.from_dict(kept["architecture"], "trace")
    try:
        drawn = drawing(architecture)
    except ArchonError as error:
        return {**kept, "omitted": str(error)}
    output = architecture.output
    return {
        **{name: value for name, value in kept.items() if name != "architecture"},
        "name": architecture.name,
        "hash": architecture.hash,
        "output": output,
        "picture": drawn,
        "runs": [
            {**run, "path": path(run["nodes"], drawn["edges"], output, (run["answer"] or {}).get("candidate"))}
            for run in kept["runs"]
        ],
    }


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


def path(
    nodes: Sequence[Mapping[str, Any]], edges: Iterable[Mapping[str, Any]], output: str, winner: str | None
) -> dict[str, Any]:
    """Where the answer that won came from: it and every candidate it was made from, the nodes that gave or passed one
    of these on, the edges they went along.

    Where a run was stopped early, the winner may not have got as far as the output node.
    """
    known = {candidate["id"]: candidate for node in nodes for candidate in node["candidates"]}
    given = {node["id"]: {candidate["id"] for candidate in node["candidates"]} for node in nodes}
    family = _ancestors(winner, known)
    sources: dict[str, list[str]] = {}
    for edge in edges:
        sources.setdefault(edge["target"], []).append(edge["source"])
    holders = [node for node, candidates in given.items() if winner in candidates]
    reached = {output} if output in holders else set(holders)
    waiting = list(reached)
    while waiting:
        for source in sources.get(waiting.pop(), []):
            if source not in reached and family & given.get(source, set()):
                reached.add(source)
                waiting.append(source)
    walked = [[source, target] for target in reached for source in sources.get(target, []) if source in reached]
    return {"winner": winner, "candidates": sorted(family), "nodes": sorted(reached), "edges": sorted(walked)}


def without_texts(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run's figures alone."""
    nodes = [{**node, "candidates": [_bare(candidate) for candidate in node["candidates"]]} for node in run["nodes"]]
    calls = [{**call, "text": ""} for call in run["calls"]]
    notes = [{**note, "message": "", "data": {}} for note in run["notes"]]
    answer = run["answer"] and {**run["answer"], "text": ""}
    return {**run, "answer": answer, "nodes": nodes, "calls": calls, "notes": notes}


def _run(trace: Trace, result: Result | None) -> dict[str, Any]:
    return {
        "answer": {"candidate": result.candidates[0].id, "text": result.text} if result else None,
        "usage": {node: usage.to_dict() for node, usage in trace.usage_by_node().items()},
        **trace.to_dict(),
    }


def _bare(candidate: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in candidate.items() if name not in _TEXTS}


def _ancestors(winner: str | None, known: Mapping[str, Mapping[str, Any]]) -> set[str]:
    family = set() if winner is None else {winner}
    waiting = list(family)
    while waiting:
        for parent in known.get(waiting.pop(), {}).get("parents", ()):
            if parent not in family:
                family.add(parent)
                waiting.append(parent)
    return family
