"""What is kept of a run and how it is drawn: above all, the path of the answer that won."""

from __future__ import annotations

import json
from typing import Any

from archon.architecture import Architecture
from archon.executor import Result
from archon.proxy.inside import document, path, view
from archon.trace import Call, NodeRecord, Note, Trace
from archon.types import Candidate, Message, Usage

NODES = [
    {"id": "a", "layer": "generator", "model": "m", "params": {"samples": 2}},
    {"id": "b", "layer": "generator", "model": "n"},
    {"id": "rank", "layer": "ranker", "model": "m", "params": {"keep": 1}, "inputs": ["a", "b"]},
    {"id": "fuse", "layer": "fuser", "model": "m", "inputs": ["rank"]},
]
ARCHITECTURE = Architecture.from_dict({"name": "team", "nodes": NODES, "output": "fuse"}, "test")


def made(name: str, *parents: str, **more: Any) -> Candidate:
    return Candidate(name, Message("assistant", f"text of {name}"), "m", name.split("#")[0], parents=parents, **more)


def run() -> tuple[Trace, Result]:
    """Two generators; the ranker keeps b's; the fuser makes the answer of it."""
    trace = Trace()
    outcomes = {
        "a": (made("a#0"), made("a#1")),
        "b": (made("b#0"),),
        "rank": (made("b#0", score=0.9, critique="CRITIQUE"),),
        "fuse": (made("fuse#0", "b#0"),),
    }
    for node, candidates in outcomes.items():
        trace.nodes[node] = NodeRecord(node, node, 0.0, 1.0, candidates=candidates)
    trace.calls.append(Call("a", "m", "generate", 0, Usage(1, 10, 5, 0, 0.001, 0.2), False, text="text of a#0"))
    trace.notes.append(Note("rank", "fallback", "words of a model"))
    return trace, Result(outcomes["fuse"][0].message, outcomes["fuse"], trace)


def drawn(texts: bool = True) -> dict[str, Any]:
    trace, result = run()
    kept = document(ARCHITECTURE, [Message("user", "the question")], [trace], [result], texts=texts)
    shown: dict[str, Any] = view(json.loads(json.dumps(kept)))
    return shown


def test_the_path_goes_through_what_the_answer_was_made_from_and_nothing_else() -> None:
    assert drawn()["runs"][0]["path"] == {
        "winner": "fuse#0",
        "candidates": ["b#0", "fuse#0"],
        "nodes": ["b", "fuse", "rank"],
        "edges": [["b", "rank"], ["rank", "fuse"]],
    }


def test_a_run_that_was_stopped_early_has_the_path_of_what_it_answered() -> None:
    nodes = [{"id": "a", "candidates": [{"id": "a#0"}]}, {"id": "fuse", "candidates": []}]
    edges = [{"source": "a", "target": "fuse"}]
    found = path(nodes, edges, "fuse", "a#0")
    assert (found["nodes"], found["edges"]) == (["a"], [])


def test_a_run_that_failed_has_no_path() -> None:
    trace, _ = run()
    shown = view(document(ARCHITECTURE, [], [trace], []))
    assert shown["runs"][0]["path"] == {"winner": None, "candidates": [], "nodes": [], "edges": []}
    assert shown["runs"][0]["answer"] is None


def test_candidates_that_name_each_other_as_parents_end_the_search() -> None:
    nodes = [{"id": "a", "candidates": [{"id": "a#0", "parents": ["a#1"]}, {"id": "a#1", "parents": ["a#0"]}]}]
    assert path(nodes, [], "a", "a#0")["candidates"] == ["a#0", "a#1"]


def test_the_picture_names_what_its_edges_join() -> None:
    picture = drawn()["picture"]
    assert {(edge["source"], edge["target"]) for edge in picture["edges"]} == {
        ("a", "rank"), ("b", "rank"), ("rank", "fuse"),
    }  # fmt: skip
    assert {box["id"] for box in picture["boxes"]} == {"a", "b", "rank", "fuse"}


def test_without_texts_no_word_of_anybody_is_kept() -> None:
    kept = json.dumps(drawn(texts=False))
    for words in ("text of", "CRITIQUE", "words of a model", "the question"):
        assert words in json.dumps(drawn())
        assert words not in kept
    assert drawn(texts=False)["runs"][0]["usage"]["a"]["prompt_tokens"] == 10


def test_a_trace_of_layers_that_are_gone_is_shown_without_its_picture() -> None:
    trace, result = run()
    kept = document(ARCHITECTURE, [], [trace], [result])
    kept["architecture"]["nodes"][0]["layer"] = "gone"
    shown = view(kept)
    assert "gone" in shown["omitted"]
    assert "picture" not in shown


def test_a_trace_that_was_too_large_says_so() -> None:
    assert view({"omitted": "too large"}) == {"omitted": "too large"}
