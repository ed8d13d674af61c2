"""What every layer promises, checked on every registered one.

A new layer joins by being registered; one whose model answers in a role not listed in `ANSWERS` adds the role there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from itertools import pairwise
from typing import Any, cast, get_args

import pytest

from archon import registry
from archon.errors import NodeError
from archon.protocols import Layer, Plan, Role, RoleInputs, Traits
from archon.types import Candidate, State, UnitTest
from tests.layers.fakes import FAILURE, Answer, FakeContext, Script, run, state

KINDS = {"generator", "fuser", "ranker", "critic", "verifier", "tests", "tests_evaluator"}
STARTS = {"generator", "self_moa_seq"}
"""Layers that make candidates where there are none."""
TESTS = (UnitTest("is odd"), UnitTest("is long"))


def _ranked(inputs: RoleInputs, sample: int) -> str:
    return "RANKING: " + " > ".join(str(n) for n in range(len(inputs.candidates), 0, -1))


def _criticised(inputs: RoleInputs, sample: int) -> str:
    return "\n".join(f"CRITIQUE {n}: weak" for n in range(1, len(inputs.candidates) + 1))


def _judged(inputs: RoleInputs, sample: int) -> str:
    passes = len(inputs.candidates[0].text) % 2 == 0
    return "\n".join(f"{n}: {'PASS' if passes else 'FAIL'}" for n in range(1, len(inputs.tests) + 1))


def _verdict(inputs: RoleInputs, sample: int) -> str:
    return f"VERDICT: {'CORRECT' if len(inputs.candidates[0].text) % 2 else 'INCORRECT'}"


ANSWERS: Script = {
    "generate": lambda inputs, sample: f"answer {sample}",
    "fuse": lambda inputs, sample: f"answer {len(inputs.candidates)}",
    "rank": _ranked,
    "compare": "PREFERRED: B",
    "critique": _criticised,
    "verify": "It adds up.",
    "verdict": _verdict,
    "write_tests": "TESTS:\n1. is odd\n2. is long",
    "judge_tests": _judged,
}

VARIANTS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "ranker": ({"method": "pairwise"}, {"keep": 2}),
    "verifier": ({"first_k": 1},),
    "unit_test_evaluator": ({"keep": 1}, {"first_pass": True}),
    "self_moa_seq": ({"samples": 3, "window": 2, "reserved": 1}, {"aggregator": "n"}),
    "generator": ({"samples": 3},),
    "fuser": ({"samples": 3, "quorum": 2},),
}

CASES = [(name, parameters) for name in registry.layer_names() for parameters in ({}, *VARIANTS.get(name, ()))]
GIVEN: Mapping[str, State] = {
    "none": state(),
    "one": state("answer 1"),
    "several": state("answer 1", "so answer 2", "the answer 2", "no idea"),
    "equal": state("answer 1", "answer 1", "answer 1"),
    "empty texts": state("", ""),
    "many": state(*(f"answer {n % 5}" for n in range(24))),
}


def build(name: str, parameters: Mapping[str, Any]) -> Layer:
    wanted = registry.parameters(name)
    models = {model: "m" for model in registry.layer_class(name).traits.models if wanted[model] is ...}
    return registry.build_layer(name, {**models, **parameters})


def ended(layer: Layer, given: State, ctx: FakeContext) -> State | NodeError:
    try:
        return run(layer, replace(given, tests=TESTS), ctx)
    except NodeError as error:
        return error


every_case = pytest.mark.parametrize(("name", "parameters"), CASES, ids=str)
every_state = pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN.keys())


@every_case
def test_it_is_a_frozen_dataclass_with_traits(name: str, parameters: Mapping[str, Any]) -> None:
    built: Any = build(name, parameters)
    assert isinstance(built, Layer)
    assert isinstance(built.traits, Traits)
    assert built.traits.kind in KINDS
    assert built.traits.summary
    assert is_dataclass(type(built))
    parameters_held = fields(cast(Any, built))
    assert set(built.traits.models) <= {field.name for field in parameters_held}
    for field in parameters_held:
        assert field.kw_only
        with pytest.raises(FrozenInstanceError):
            setattr(built, field.name, None)


@every_case
@every_state
def test_plan_bounds_calls_and_candidates(name: str, parameters: Mapping[str, Any], given: State) -> None:
    layer, ctx = build(name, parameters), FakeContext(ANSWERS)
    plan = layer.plan(len(given.candidates))
    result = ended(layer, given, ctx)
    assert len(ctx.draws) <= plan.calls
    if isinstance(result, State):
        assert len(result.candidates) <= plan.candidates


@every_case
@every_state
def test_plan_bounds_repairs_too(name: str, parameters: Mapping[str, Any], given: State) -> None:
    layer, ctx = build(name, parameters), FakeContext({"*": "hm"})
    plan = layer.plan(len(given.candidates))
    ended(layer, given, ctx)
    assert len(ctx.draws) <= plan.calls + plan.contingent


@every_case
@pytest.mark.parametrize("room", [2200, 2600, 3200, 4000])
def test_plan_bounds_chunks_too(name: str, parameters: Mapping[str, Any], room: int) -> None:
    given = state(*(f"{n}" + "x" * 400 for n in range(7)))
    layer, ctx = build(name, parameters), FakeContext(ANSWERS, context_chars=room)
    plan = layer.plan(7)
    result = ended(layer, given, ctx)
    assert len(ctx.draws) <= plan.calls + plan.contingent
    assert isinstance(result, State) or "context" in str(result)


@every_case
def test_more_candidates_never_plan_for_less(name: str, parameters: Mapping[str, Any]) -> None:
    layer = build(name, parameters)
    plans = [layer.plan(incoming) for incoming in range(30)]
    assert all(isinstance(plan, Plan) and min(plan.calls, plan.candidates, plan.contingent) >= 0 for plan in plans)
    for fewer, more in pairwise(plans):
        assert fewer.calls + fewer.contingent <= more.calls + more.contingent
        assert fewer.candidates <= more.candidates


@every_case
@every_state
def test_the_given_state_is_not_changed(name: str, parameters: Mapping[str, Any], given: State) -> None:
    before = repr(replace(given, tests=TESTS))
    ended(build(name, parameters), given, FakeContext(ANSWERS))
    assert repr(replace(given, tests=TESTS)) == before


@every_case
@every_state
def test_equal_runs_are_equal(name: str, parameters: Mapping[str, Any], given: State) -> None:
    first, second = FakeContext(ANSWERS), FakeContext(ANSWERS)
    assert repr(ended(build(name, parameters), given, first)) == repr(ended(build(name, parameters), given, second))
    assert [draw.name for draw in first.draws] == [draw.name for draw in second.draws]
    assert first.notes == second.notes


@every_case
@every_state
def test_no_draw_is_made_twice(name: str, parameters: Mapping[str, Any], given: State) -> None:
    ctx = FakeContext(ANSWERS)
    ended(build(name, parameters), given, ctx)
    names = [draw.name for draw in ctx.draws]
    assert len(set(names)) == len(names)


@every_case
@every_state
def test_candidates_are_given_ones_or_new_ones_of_this_node(
    name: str, parameters: Mapping[str, Any], given: State
) -> None:
    layer, ctx = build(name, parameters), FakeContext(ANSWERS)
    result = ended(layer, given, ctx)
    if isinstance(result, NodeError):
        return
    known = {each.id: each for each in given.candidates}
    ids = [each.id for each in result.candidates]
    assert len(set(ids)) == len(ids)
    for each in result.candidates:
        if each.id in known:
            assert _identity(each) == _identity(known[each.id])
        else:
            assert each.node == ctx.node
            assert layer.traits.kind == "generator" or set(each.parents) >= set(known)
    assert result.conversation == given.conversation


def _identity(candidate: Candidate) -> tuple[Any, ...]:
    return candidate.message, candidate.model, candidate.node, candidate.parents


@every_case
def test_nothing_in_gives_nothing_out_or_an_error_that_names_the_node(name: str, parameters: Mapping[str, Any]) -> None:
    result = ended(build(name, parameters), GIVEN["none"], ctx := FakeContext(ANSWERS))
    if name in STARTS:
        assert isinstance(result, State)
        assert result.candidates
    elif isinstance(result, NodeError):
        assert "node 'node'" in str(result)
    else:
        assert not result.candidates
        assert ctx.notes or result.tests


@every_case
@pytest.mark.parametrize("role", [role for role in get_args(Role) if role != "repair"])
def test_one_failing_draw_leaves_an_answer_or_an_error_with_its_cause(
    name: str, parameters: Mapping[str, Any], role: Role
) -> None:
    """The first call of a role fails; what comes out is never the error's text."""
    ctx = FakeContext({**ANSWERS, role: _failing_once(role)})
    result = ended(build(name, parameters), GIVEN["several"], ctx)
    if isinstance(result, NodeError):
        assert str(FAILURE) in str(result)
        assert len(ctx.drawn(role)) <= max(1, parameters.get("quorum", 1))
    else:
        assert result.candidates
        assert all(str(FAILURE) not in each.text for each in result.candidates)


def _failing_once(role: str) -> Callable[[RoleInputs, int], Answer]:
    seen: list[int] = []

    def answer(inputs: RoleInputs, sample: int) -> Answer:
        seen.append(sample)
        scripted = ANSWERS[role]
        if len(seen) == 1:
            return FAILURE
        return scripted(inputs, sample) if callable(scripted) else scripted

    return answer


@every_case
def test_every_call_failing_is_an_error_with_the_cause(name: str, parameters: Mapping[str, Any]) -> None:
    ctx = FakeContext({"*": FAILURE})
    result = ended(build(name, parameters), GIVEN["several"], ctx)
    if not ctx.draws or name == "self_moa_seq":
        return
    assert isinstance(result, NodeError)
    assert str(FAILURE) in str(result)


@every_case
def test_unparseable_answers_are_noted_and_lose_no_candidate(name: str, parameters: Mapping[str, Any]) -> None:
    given, ctx = GIVEN["several"], FakeContext({"*": "hm"})
    result = ended(build(name, parameters), given, ctx)
    assert isinstance(result, State)
    if not any(draw.role == "repair" for draw in ctx.draws):
        return
    assert ctx.kinds() & {"fallback", "incomplete"}
    keep = parameters.get("keep") or len(given.candidates)
    assert [each.id for each in result.candidates] == [each.id for each in given.candidates[:keep]]


@every_case
def test_unknown_and_missing_parameters_are_named(name: str, parameters: Mapping[str, Any]) -> None:
    with pytest.raises(Exception, match="unknown parameter 'nonsense'"):
        build(name, {**parameters, "nonsense": 1})
