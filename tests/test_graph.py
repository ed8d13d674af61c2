"""The construction rules, each broken once and lifted once; plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from archon import Critic, Fuser, Generator, Node, Ranker, UnitTestEvaluator, UnitTestGenerator, Verifier, Vote
from archon.compose import Part
from archon.errors import ArchitectureError
from archon.graph import broken_rule, check, plan
from archon.protocols import Context, Plan, Traits
from archon.types import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Odd:
    """A third party's layer of a kind of its own."""

    traits: ClassVar[Traits] = Traits(kind="odd", models=())

    def plan(self, incoming: int) -> Plan:
        return Plan(0, incoming)

    async def run(self, state: State, ctx: Context) -> State:
        return state


G, H = Generator("m", samples=3), Generator("n")

BROKEN: dict[str, tuple[Part, str]] = {
    "one_kind_per_stage": (G >> (Fuser("m") | Node("tests.test_graph:Odd")) >> Vote(), "holds one kind of layer"),
    "generators_first": (G >> Generator("n") >> Vote(), "is not in the first stage"),
    "critic_before": (G >> Critic("m") >> Verifier("m"), "not followed by a ranker or fuser"),
    "alone": (G >> (Ranker("m") | Ranker("n")) >> Vote(), "must be alone"),
    "fusers_not_first": ((G | Fuser("m")) >> Vote(), "is in the first stage"),
    "tests_then_evaluator": (G >> UnitTestGenerator("m") >> Vote(), "followed by a unit-test evaluator"),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_named_with_its_place_and_its_fix(rule: str) -> None:
    part, said = BROKEN[rule]
    with pytest.raises(ArchitectureError, match=said) as caught:
        check(part.architecture())
    assert f"lift: [{rule}]" in str(caught.value)
    assert "node '" in str(caught.value)


@pytest.mark.parametrize("rule", BROKEN)
def test_a_rule_can_be_lifted_by_name(rule: str) -> None:
    part, _ = BROKEN[rule]
    architecture = part.architecture(lift=(rule,))  # type: ignore[arg-type]
    found = broken_rule(architecture.canonical_nodes, architecture.lift)
    assert found is None or found[0] != rule


def test_an_evaluator_needs_its_generator() -> None:
    with pytest.raises(ArchitectureError, match="must directly follow a unit-test generator"):
        check((G >> UnitTestEvaluator("m")).architecture())


def test_no_generator_at_all_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="start with at least one"):
        check(Fuser("m").architecture())


def test_a_judge_first_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="give it candidates"):
        check(((G | Ranker("m")) >> Vote()).architecture(lift=("generators_first",)))


def test_a_node_that_leads_nowhere_is_refused() -> None:
    from archon.architecture import Architecture, Node

    nodes = (
        Node(id="g", layer="generator", model="m"),
        Node(id="lost", layer="fuser", model="m", inputs=("g",)),
    )
    with pytest.raises(ArchitectureError, match="'lost' does not lead to the output 'g'"):
        check(Architecture(nodes=nodes, output="g"))


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([("a", ()), ("a", ())], "defined twice"),
        ([("a", ()), ("b", ("a", "a"))], "named twice"),
    ],
)
def test_names_are_checked(nodes: list[tuple[str, tuple[str, ...]]], said: str) -> None:
    from archon.architecture import Architecture, Node

    made = tuple(Node(id=i, layer="fuser" if x else "generator", model="m", inputs=x) for i, x in nodes)
    with pytest.raises(ArchitectureError, match=said):
        check(Architecture(nodes=made, output=made[-1].id))


def test_a_model_given_twice_is_refused() -> None:
    from archon.architecture import Architecture, Node

    node = Node(id="g", layer="generator", model="m", params={"model": "n"})
    with pytest.raises(ArchitectureError, match="given as model and as parameter"):
        check(Architecture(nodes=(node,), output="g"))


def test_the_papers_example_plans_35_calls_or_less() -> None:
    """10 generators, critic, ranker, 6 fusers, verifier (2 calls a candidate), 1 fuser: 10+1+1+6+12+1 = 31."""
    part = Generator("m", samples=10) >> Critic("m") >> Ranker("m", keep=5) >> Fuser("m", samples=6) >> Verifier("m")
    planned = plan((part >> Fuser("m")).architecture())
    assert planned.calls == 31
    assert planned.candidates == 1
    assert planned.stages == 6
    assert planned.incoming["verifier"] == 6


def test_plans_follow_the_candidates_through_branches() -> None:
    """3 + 1 answers reach the vote, beside 1 fused one: 5 candidates in, 1 out, and 3 + 1 + 1 calls."""
    draft = G | H
    planned = plan((draft | draft >> Fuser("m")).__rshift__(Vote()).architecture())
    vote = next(name for name in planned.incoming if name.startswith("vote"))
    assert planned.incoming[vote] == 5
    assert planned.calls == 5
