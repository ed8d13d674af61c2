"""Critic: critiques land on the candidates they are about."""

from dataclasses import replace
from typing import Any

import pytest

from archon.errors import NodeError
from archon.protocols import Critiques, Plan, RoleInputs, RoleOutput
from layers.critic import Critic
from tests.layers.fakes import FAILURE, FakeContext, run, state, texts


def criticises(inputs: RoleInputs, sample: int) -> str:
    return "\n".join(f"CRITIQUE {n}:\nabout {each.text[0]}" for n, each in enumerate(inputs.candidates, 1))


def test_one_call_criticises_all_and_leaves_the_candidates_in_order() -> None:
    ctx = FakeContext({"critique": criticises})
    made = run(Critic(model="m"), state("a", "b"), ctx)
    assert texts(made) == ["a", "b"]
    assert [each.critique for each in made.candidates] == ["about a", "about b"]
    assert len(ctx.draws) == 1
    assert not ctx.notes


def test_a_candidate_left_out_keeps_what_it_had_and_that_is_recorded() -> None:
    given = state("a", "b", "c")
    given = given.with_candidates([*given.candidates[:2], replace(given.candidates[2], critique="old")])
    ctx = FakeContext({"critique": "CRITIQUE 2: fine"})
    made = run(Critic(model="m"), given, ctx)
    assert [each.critique for each in made.candidates] == [None, "fine", "old"]
    assert ctx.notes == [("incomplete", "2 of 3 candidates got no critique")]


def test_earlier_critiques_are_not_shown() -> None:
    given = state("a")
    ctx = FakeContext({"critique": criticises})
    curious = Critic(
        model="m", prompt="{% for answer in answers %}{{ answer.quoted }} {{ answer.critique }}{% endfor %}"
    )
    run(curious, given.with_candidates([replace(given.candidates[0], critique="sloppy")]), ctx)
    assert "sloppy" not in ctx.draws[0].messages[-1].text


def test_unparseable_critiques_leave_all_without_and_say_so() -> None:
    ctx = FakeContext({"critique": "nice", "repair": "nice"})
    made = run(Critic(model="m"), state("a", "b"), ctx)
    assert [each.critique for each in made.candidates] == [None, None]
    assert "incomplete" in ctx.kinds()


def test_failed_call_fails_the_node() -> None:
    with pytest.raises(NodeError, match="no critique succeeded"):
        run(Critic(model="m"), state("a"), FakeContext({"critique": FAILURE}))


def test_candidates_that_do_not_fit_together_are_criticised_in_chunks_and_a_failed_chunk_is_recorded() -> None:
    def script(inputs: RoleInputs, sample: int) -> str | Exception:
        return FAILURE if inputs.candidates[0].text[0] == "c" else criticises(inputs, sample)

    alone = FakeContext({"critique": criticises})
    run(Critic(model="m"), state("a" * 300, "b" * 300), alone)
    room = sum(len(message.text) for message in alone.draws[0].messages)
    ctx = FakeContext({"critique": script}, context_chars=room)
    made = run(Critic(model="m"), state(*(letter * 300 for letter in "abc")), ctx)
    assert [each.critique for each in made.candidates] == ["about a", "about b", None]
    assert ctx.kinds() == {"chunked", "failed", "incomplete"}


def test_a_candidate_that_fits_nowhere_is_an_error() -> None:
    with pytest.raises(NodeError, match="'earlier#0' does not fit"):
        run(Critic(model="m"), state("a" * 9000), FakeContext(context_chars=2000))


def test_a_pack_that_gives_too_few_texts_leaves_the_rest_without() -> None:
    class Terse(FakeContext):
        async def ask(self, *args: Any, **options: Any) -> RoleOutput:
            return Critiques(("only one",))

    made = run(Critic(model="m"), state("a", "b"), Terse())
    assert [each.critique for each in made.candidates] == ["only one", None]


def test_nothing_to_criticise_stays_nothing() -> None:
    ctx = FakeContext()
    assert run(Critic(model="m"), state(), ctx) == state()
    assert ctx.kinds() == {"empty"}


def test_plan() -> None:
    assert Critic(model="m").plan(4) == Plan(calls=1, candidates=4, contingent=7)
    assert Critic(model="m").plan(0) == Plan(calls=0, candidates=0)
