"""Verifier: reasoning then verdict, and what happens when either is missing."""

from dataclasses import replace

import pytest

from archon.errors import NodeError
from archon.protocols import Plan, RoleInputs
from layers.verifier import Verifier
from tests.layers.fakes import FAILURE, FakeContext, run, state, texts


def reasons(inputs: RoleInputs, sample: int) -> str:
    return f"about {inputs.candidates[0].text}, look {sample}"


def right_if_upper(inputs: RoleInputs, sample: int) -> str:
    return f"VERDICT: {'CORRECT' if inputs.candidates[0].text.isupper() else 'INCORRECT'}"


SCRIPT = {"verify": reasons, "verdict": right_if_upper}


def test_only_the_correct_go_on_in_order_with_verdict_and_reasoning() -> None:
    ctx = FakeContext(SCRIPT)
    made = run(Verifier(model="m"), state("a", "B", "C"), ctx)
    assert texts(made) == ["B", "C"]
    assert made.candidates[0].verdict is True
    assert made.candidates[0].reasoning == "about B, look 0"
    assert len(ctx.draws) == 6
    assert not ctx.notes


def test_the_verdict_is_asked_with_the_reasoning() -> None:
    ctx = FakeContext(SCRIPT)
    run(Verifier(model="m"), state("a"), ctx)
    assert "about a, look 0" in ctx.drawn("verdict")[0].messages[-1].text
    assert ctx.drawn("verify")[0].inputs.reasoning is None


def test_first_k_bounds_the_verified() -> None:
    assert texts(run(Verifier(model="m", first_k=1), state("a", "B", "C"), FakeContext(SCRIPT))) == ["B"]


def test_none_verified_keeps_all_the_scored_first_best_first() -> None:
    given = state("a", "b", "c")
    scores = (None, 0.2, 0.9)
    given = given.with_candidates([replace(c, score=s) for c, s in zip(given.candidates, scores, strict=True)])
    ctx = FakeContext(SCRIPT)
    made = run(Verifier(model="m", first_k=1), given, ctx)
    assert texts(made) == ["c", "b", "a"]
    assert all(each.verdict is False for each in made.candidates)
    assert ctx.kinds() == {"fallback"}


def test_unparseable_verdict_counts_as_unverified() -> None:
    ctx = FakeContext({**SCRIPT, "verdict": "It is not correct.", "repair": "VERDICT: NOT CORRECT"})
    made = run(Verifier(model="m"), state("A", "B"), ctx)
    assert texts(made) == ["A", "B"]
    assert [each.verdict for each in made.candidates] == [None, None]
    assert {"unverified", "fallback"} <= ctx.kinds()


def test_failed_calls_leave_their_candidate_unverified() -> None:
    def failing(inputs: RoleInputs, sample: int) -> str | Exception:
        return FAILURE if inputs.candidates[0].text == "B" else reasons(inputs, sample)

    ctx = FakeContext({**SCRIPT, "verify": failing})
    assert texts(run(Verifier(model="m"), state("A", "B", "c"), ctx)) == ["A"]
    assert ctx.kinds() == {"failed", "unverified"}


def test_every_call_failing_fails_the_node() -> None:
    with pytest.raises(NodeError, match=r"no verification succeeded.*upstream is down"):
        run(Verifier(model="m"), state("A", "B"), FakeContext({"verify": FAILURE}))


def test_candidates_of_equal_text_are_judged_by_different_draws() -> None:
    ctx = FakeContext(SCRIPT)
    made = run(Verifier(model="m"), state("A", "A"), ctx)
    assert [each.reasoning for each in made.candidates] == ["about A, look 0", "about A, look 1"]
    assert len({draw.name for draw in ctx.draws}) == 4


def test_reasoning_too_long_for_the_verdict_leaves_the_candidate_unverified() -> None:
    ctx = FakeContext({**SCRIPT, "verify": "x" * 5000}, context_chars=4000)
    assert texts(run(Verifier(model="m"), state("A"), ctx)) == ["A"]
    assert ctx.kinds() == {"failed", "unverified", "fallback"}
    assert not ctx.drawn("verdict")


def test_a_candidate_that_does_not_fit_is_an_error_before_any_call() -> None:
    ctx = FakeContext(SCRIPT, context_chars=4000)
    with pytest.raises(NodeError, match="'earlier#1' does not fit"):
        run(Verifier(model="m"), state("A", "B" * 5000), ctx)
    assert not ctx.draws


def test_both_prompts_can_be_replaced() -> None:
    ctx = FakeContext(SCRIPT)
    run(Verifier(model="m", prompt="Look: {{ question }}", verdict_prompt="Decide: {{ reasoning }}"), state("A"), ctx)
    assert ctx.drawn("verify")[0].messages[-1].text.startswith("Look: <conversation")
    assert ctx.drawn("verdict")[0].messages[-1].text.startswith("Decide: <reasoning")


def test_nothing_to_verify_stays_nothing() -> None:
    ctx = FakeContext()
    assert run(Verifier(model="m"), state(), ctx) == state()
    assert ctx.kinds() == {"empty"}


def test_plan() -> None:
    assert Verifier(model="m", first_k=1).plan(3) == Plan(calls=6, candidates=3, contingent=3)
