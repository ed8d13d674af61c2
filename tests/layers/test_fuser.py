"""Fuser: fusions, critiques, failures, more candidates than fit."""

from dataclasses import replace

import pytest

from archon.errors import NodeError
from archon.protocols import Plan, RoleInputs
from archon.types import Message, State, UnitTest, user
from layers.fuser import Fuser
from tests.layers.fakes import FAILURE, FakeContext, candidate, run, state, texts


def joined(inputs: RoleInputs, sample: int) -> str:
    """A fusion that tells what was fused."""
    return "+".join(each.text for each in inputs.candidates)


def room_for(count: int, length: int) -> int:
    """Prompt characters into which `count` candidates of `length` characters fit, and no more."""
    ctx = FakeContext({"fuse": "x"})
    run(Fuser(model="m"), state(*["x" * length] * count), ctx)
    return sum(len(message.text) for message in ctx.draws[0].messages)


def test_every_sample_is_a_fusion_of_all_candidates() -> None:
    ctx = FakeContext({"fuse": joined})
    given = state("a", "b")
    made = run(Fuser(model="m", samples=2), given, ctx)
    assert texts(made) == ["a+b", "a+b"]
    assert [draw.sample for draw in ctx.draws] == [0, 1]
    assert all(each.parents == ("earlier#0", "earlier#1") for each in made.candidates)


def test_drafts_stand_in_a_system_message_and_the_conversation_follows_whole() -> None:
    picture = Message("user", ({"type": "image_url", "image_url": {"url": "data:,"}},))
    ctx = FakeContext({"fuse": "fused"})
    run(Fuser(model="m"), State((picture,), (candidate("draft"),)), ctx)
    assert ctx.draws[0].messages[0].role == "system"
    assert "\ndraft\n" in ctx.draws[0].messages[0].text
    assert ctx.draws[0].messages[1:] == (picture,)


def test_critiques_are_shown_unless_switched_off() -> None:
    given = State((user("q"),), (candidate("a", critique="too short"), candidate("b")))
    for shown in (True, False):
        ctx = FakeContext({"fuse": "fused"})
        run(Fuser(model="m", use_critiques=shown), given, ctx)
        assert ("too short" in ctx.draws[0].messages[0].text) is shown
        assert ("Critique of answer 1" in ctx.draws[0].messages[0].text) is shown
        assert "Critique of answer 2" not in ctx.draws[0].messages[0].text


def test_length_control_and_tests_reach_the_prompt() -> None:
    plain, asked = FakeContext({"fuse": "f"}), FakeContext({"fuse": "f"})
    run(Fuser(model="m"), state("a"), plain)
    run(Fuser(model="m", length_control=True), replace(state("a"), tests=(UnitTest("is short"),)), asked)
    assert "no longer than" not in plain.draws[0].messages[0].text
    assert "no longer than" in asked.draws[0].messages[0].text
    assert "is short" in asked.draws[0].messages[0].text


def test_a_single_candidate_is_fused_too() -> None:
    assert texts(run(Fuser(model="m"), state("a"), FakeContext({"fuse": "better"}))) == ["better"]


def test_nothing_to_fuse_is_an_error_that_names_the_node() -> None:
    with pytest.raises(NodeError, match="node 'node': there is nothing to fuse"):
        run(Fuser(model="m"), state(), FakeContext())


def test_failed_fusions_are_dropped_until_the_quorum_is_missed() -> None:
    script = {"fuse": lambda inputs, sample: FAILURE if sample == 0 else "fused"}
    assert texts(run(Fuser(model="m", samples=2), state("a"), FakeContext(script))) == ["fused"]
    with pytest.raises(NodeError, match="upstream is down"):
        run(Fuser(model="m", samples=2, quorum=2), state("a"), FakeContext(script))


def test_more_candidates_than_fit_are_fused_by_chunks_then_the_fusions() -> None:
    def short(inputs: RoleInputs, sample: int) -> str:
        return "/".join(each.text[0] for each in inputs.candidates)

    # Two of 300 characters fit; so five make the chunks aa, bb, c; the fusions are short and fit together.
    given = state(*(letter * 300 for letter in "abcde"))
    ctx = FakeContext({"fuse": short}, context_chars=room_for(2, 300))
    made = run(Fuser(model="m", samples=2), given, ctx)
    assert [[each.text[0] for each in draw.inputs.candidates] for draw in ctx.draws[:2]] == [["a", "b"], ["c", "d"]]
    assert ctx.kinds() == {"chunked"}
    assert [each.id for each in made.candidates] == ["node#0", "node#1"]
    assert [each.id for each in ctx.draws[-1].inputs.candidates] == ["node#2", "node#3", "earlier#4"]
    assert made.candidates[0].parents == tuple(each.id for each in given.candidates)
    assert len(ctx.draws) <= Fuser(model="m", samples=2).plan(5).calls + Fuser(model="m", samples=2).plan(5).contingent


def test_equal_chunks_are_different_draws() -> None:
    ctx = FakeContext({"fuse": lambda inputs, sample: f"s{sample}"}, context_chars=room_for(2, 300))
    run(Fuser(model="m"), state(*["a" * 300] * 4), ctx)
    assert [draw.sample for draw in ctx.draws[:2]] == [0, 1]


def test_a_chunk_that_fails_is_represented_by_its_first_candidate() -> None:
    def failing(inputs: RoleInputs, sample: int) -> str | Exception:
        first = inputs.candidates[0].text[0]
        return FAILURE if first == "c" and len(inputs.candidates[-1].text) > 1 else first

    ctx = FakeContext({"fuse": failing}, context_chars=room_for(2, 300))
    run(Fuser(model="m"), state(*(letter * 300 for letter in "abcd")), ctx)
    assert [each.text[0] for each in ctx.draws[-1].inputs.candidates] == ["a", "c"]
    assert ctx.kinds() == {"chunked", "fallback"}


def test_a_candidate_that_fits_nowhere_is_an_error_that_names_node_candidate_and_fix() -> None:
    ctx = FakeContext({"fuse": joined}, context_chars=room_for(1, 300))
    with pytest.raises(NodeError, match=r"node 'node': candidate 'earlier#1' does not fit .* longer context"):
        run(Fuser(model="m"), state("a", "b" * 400), ctx)
    assert not ctx.draws


def test_candidates_of_which_no_two_fit_are_an_error() -> None:
    ctx = FakeContext({"fuse": joined}, context_chars=room_for(1, 300))
    with pytest.raises(NodeError, match="no two of 2 candidates fit"):
        run(Fuser(model="m"), state("a" * 300, "b" * 300), ctx)


def test_plan_counts_samples_and_at_worst_chunks() -> None:
    assert Fuser(model="m", samples=2).plan(5) == Plan(calls=2, candidates=2, contingent=3)
    assert Fuser(model="m").plan(1) == Plan(calls=1, candidates=1)
