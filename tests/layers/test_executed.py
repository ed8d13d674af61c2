"""Every layer in the real executor, over the fake client: what the in-memory context of these tests cannot show."""

import asyncio
from typing import Any

import pytest

from archon.architecture import Architecture
from archon.clients.stack import ClientStack
from archon.errors import RunError
from archon.executor import Result
from archon.executor import run as run_architecture
from archon.graph import plan
from archon.models import ModelSpec, ModelTable
from archon.types import user

# The fake client takes the first key that stands in the prompt, so the markers of the forms choose by role.
ANSWERS: dict[str, Any] = {
    "could not be read": "RANKING: 2 > 1",
    "RANKING:": "RANKING: 3 > 1 > 2",
    "PREFERRED:": "PREFERRED: B",
    "CRITIQUE 1:": "CRITIQUE 1:\nshort\nCRITIQUE 2:\nlong",
    "VERDICT:": "VERDICT: CORRECT",
    "TESTS:": "TESTS:\n1. is a number",
    "RESULTS:": "RESULTS:\n1: PASS",
    "Examine whether": "It adds up.",
    "Several assistants": ["answer 5", "so answer 5"],
    "Drafts of an answer": "answer 6",
    "": ["answer 4", "answer 5", "answer 7"],
}


def chain(*layers: tuple[str, dict[str, Any]]) -> Architecture:
    nodes = [
        {
            "id": f"{place}-{layer}",
            "layer": layer,
            "params": parameters,
            **({} if layer == "vote" else {"model": "m"}),
            **({"inputs": [f"{place - 1}-{layers[place - 1][0]}"]} if place else {}),
        }
        for place, (layer, parameters) in enumerate(layers)
    ]
    return Architecture.from_dict({"nodes": nodes, "output": nodes[-1]["id"]})


def executed(architecture: Architecture, **spec: Any) -> Result:
    model = ModelSpec(id="m", client="fake", **{"options": {"answers": ANSWERS}, **spec})

    async def once() -> Result:
        stack = ClientStack(ModelTable([model]), cache=None)
        try:
            return await run_architecture(architecture, [user("What is 2 + 3?")], stack)
        finally:
            await stack.aclose()

    return asyncio.run(once())


def test_a_system_of_every_kind_of_layer_runs_within_its_plan() -> None:
    system = chain(
        ("generator", {"samples": 3}),
        ("critic", {}),
        ("ranker", {"keep": 2}),
        ("unit_test_generator", {}),
        ("unit_test_evaluator", {}),
        ("verifier", {"first_k": 2}),
        ("fuser", {"samples": 2}),
        ("vote", {}),
    )
    result = executed(system)
    assert result.text == "answer 5"
    assert result.candidates[0].score == 1.0
    # 3 samples, 1 critique, 1 ranking, 1 set of tests, 2 evaluations, 2 × 2 for verification, 2 fusions, no vote
    assert len(result.trace.calls) == plan(system).calls == 14
    ranked = result.trace.nodes["2-ranker"].candidates
    assert [each.text for each in ranked] == ["answer 7", "answer 4"]
    assert [each.critique for each in ranked] == [None, "short"]


def test_self_moa_seq_and_pairwise_ranking_run_within_their_plans() -> None:
    seq = chain(("generator", {"samples": 2}), ("self_moa_seq", {"samples": 6, "window": 4, "reserved": 2}))
    result = executed(seq)
    assert result.text == "answer 6"
    assert len(result.trace.calls) == plan(seq).calls == 2 + 6 + 3
    pairs = chain(("generator", {"samples": 3}), ("ranker", {"method": "pairwise"}))
    result = executed(pairs)
    assert len(result.trace.calls) == plan(pairs).calls == 3 + 6
    # Always the second place: nothing is preferred, and the given order stands.
    assert result.text == "answer 4"


def test_an_unparseable_ranking_is_repaired_once() -> None:
    result = executed(chain(("generator", {"samples": 2}), ("ranker", {})))
    assert result.text == "answer 5"
    assert [call.role for call in result.trace.calls] == ["generate", "generate", "rank", "repair"]


def test_a_small_context_fuses_by_chunks() -> None:
    long = [f"{letter * 900} answer {n}" for n, letter in enumerate("abcd")]
    answers = {"Several assistants": "answer 5", "": long}
    result = executed(
        chain(("generator", {"samples": 4, "max_tokens": 300}), ("fuser", {"max_tokens": 50})),
        context=950,
        options={"answers": answers},
    )
    assert result.text == "answer 5"
    assert [note.kind for note in result.trace.notes] == ["chunked"]
    assert len(result.trace.calls) == 4 + 2 + 1


def test_an_answer_too_long_for_the_judge_is_an_error_that_names_the_node() -> None:
    with pytest.raises(RunError, match=r"node '1-verifier': candidate '0-generator#0' does not fit the context of 'm'"):
        executed(
            chain(("generator", {"max_tokens": 1200}), ("verifier", {})),
            context=1300,
            options={"answers": {"Examine": "fine", "": "x" * 4500}},
        )
