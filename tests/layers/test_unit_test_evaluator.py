"""Unit-test evaluator: order by tests passed, filters, the sandbox's seam, missing judgements."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from archon.errors import ConfigError, NodeError
from archon.protocols import Plan, RoleInputs
from archon.types import State, TestResult, UnitTest
from layers.unit_test_evaluator import UnitTestEvaluator
from tests.layers.fakes import FAILURE, FakeContext, run, state, texts

ODD, LONG = UnitTest("is odd"), UnitTest("is long")
RUNS = UnitTest("assert f(2) == 5", code=True)


def under_test(*answers: str, tests: tuple[UnitTest, ...] = (ODD, LONG)) -> State:
    return replace(state(*answers), tests=tests)


def judges(inputs: RoleInputs, sample: int) -> str:
    """Passes a test where the answer holds its last word."""
    answer = inputs.candidates[0].text
    lines = [f"{n}: {'PASS' if test.text.split()[-1] in answer else 'FAIL'}" for n, test in enumerate(inputs.tests, 1)]
    return "\n".join(["RESULTS:", *lines])


class Runner:
    """A sandbox in which a program passes a test where it holds the test's last word."""

    def __init__(self) -> None:
        self.checked: list[tuple[str, str]] = []

    async def check(self, program: str, test: str) -> bool:
        return (await self.check_all(program, (test,)))[0]

    async def check_all(self, program: str, tests: Sequence[str], *, names: Sequence[str] = ()) -> tuple[bool, ...]:
        self.checked += [(program, test) for test in tests]
        if program == "broken":
            raise ConfigError("the sandbox is not there")
        return tuple(test.rpartition(" ")[2] in program for test in tests)


def test_candidates_are_ordered_by_tests_passed_and_ties_keep_their_order() -> None:
    ctx = FakeContext({"judge_tests": judges})
    made = run(UnitTestEvaluator(model="m"), under_test("none", "odd", "long", "odd long"), ctx)
    assert texts(made) == ["odd long", "odd", "long", "none"]
    assert [each.score for each in made.candidates] == [1.0, 0.5, 0.5, 0.0]
    assert made.candidates[1].tests == (TestResult(ODD, True), TestResult(LONG, False))
    assert len(ctx.draws) == 4


def test_tests_end_here_unless_they_are_to_stay() -> None:
    given = under_test("odd")
    assert run(UnitTestEvaluator(model="m"), given, FakeContext({"judge_tests": judges})).tests == ()
    kept = run(UnitTestEvaluator(model="m", remove_tests=False), given, FakeContext({"judge_tests": judges}))
    assert kept.tests == (ODD, LONG)


@pytest.mark.parametrize(
    ("parameters", "kept"),
    [
        ({"keep": 2}, ["odd long", "long odd"]),
        ({"first_k": 1}, ["odd long"]),
        ({"first_k": 5}, ["odd long", "long odd"]),
        ({"first_pass": True}, ["odd long"]),
        ({"first_pass": True, "first_k": 2}, ["odd long"]),
    ],
)
def test_filters(parameters: dict[str, Any], kept: list[str]) -> None:
    given = under_test("odd", "odd long", "long odd")
    ctx = FakeContext({"judge_tests": judges})
    assert texts(run(UnitTestEvaluator(model="m", **parameters), given, ctx)) == kept


def test_a_filter_that_nobody_passes_keeps_all_and_says_so() -> None:
    ctx = FakeContext({"judge_tests": judges})
    assert texts(run(UnitTestEvaluator(model="m", first_pass=True), under_test("none", "odd"), ctx)) == ["odd", "none"]
    assert ctx.kinds() == {"fallback"}


def test_no_tests_or_no_candidates_change_nothing() -> None:
    for given in (state("a", "b"), under_test()):
        ctx = FakeContext()
        assert run(UnitTestEvaluator(model="m"), given, ctx).candidates == given.candidates
        assert ctx.kinds() == {"empty"}
    assert texts(run(UnitTestEvaluator(model="m", keep=1), state("a", "b"), FakeContext())) == ["a"]


def test_unparseable_judgements_are_no_failures_but_count_as_not_passed() -> None:
    def script(inputs: RoleInputs, sample: int) -> str:
        return "1: passable" if inputs.candidates[0].text == "odd long" else judges(inputs, sample)

    ctx = FakeContext({"judge_tests": script, "repair": "hm"})
    made = run(UnitTestEvaluator(model="m"), under_test("odd long", "odd"), ctx)
    assert texts(made) == ["odd", "odd long"]
    assert made.candidates[1].tests == (TestResult(ODD, None), TestResult(LONG, None))
    assert "unjudged" in ctx.kinds()


def test_nothing_judged_at_all_changes_nothing_and_says_so() -> None:
    ctx = FakeContext({"*": "hm"})
    given = under_test("a", "b")
    assert run(UnitTestEvaluator(model="m"), given, ctx).candidates == given.candidates
    assert {"unjudged", "fallback"} <= ctx.kinds()


def test_a_failed_call_leaves_its_candidate_unjudged() -> None:
    def script(inputs: RoleInputs, sample: int) -> str | Exception:
        return FAILURE if inputs.candidates[0].text == "odd" else judges(inputs, sample)

    ctx = FakeContext({"judge_tests": script})
    assert texts(run(UnitTestEvaluator(model="m"), under_test("odd", "long"), ctx)) == ["long", "odd"]
    assert ctx.kinds() == {"failed", "unjudged"}


def test_every_call_failing_fails_the_node() -> None:
    with pytest.raises(NodeError, match="no test evaluation succeeded"):
        run(UnitTestEvaluator(model="m"), under_test("a"), FakeContext({"judge_tests": FAILURE}))


def test_candidates_of_equal_text_are_judged_by_different_draws() -> None:
    ctx = FakeContext({"judge_tests": judges})
    run(UnitTestEvaluator(model="m"), under_test("odd", "odd"), ctx)
    assert [draw.sample for draw in ctx.draws] == [0, 1]


def test_a_candidate_that_does_not_fit_is_an_error_before_any_call() -> None:
    ctx = FakeContext({"judge_tests": judges}, context_chars=4000)
    with pytest.raises(NodeError, match="'earlier#1' does not fit"):
        run(UnitTestEvaluator(model="m"), under_test("odd", "x" * 5000), ctx)
    assert not ctx.draws


def test_executable_tests_run_in_the_sandbox_without_any_model_call() -> None:
    runner = Runner()
    ctx = FakeContext(sandbox=runner)
    made = run(UnitTestEvaluator(model="m"), under_test("answer 4", "answer 5", tests=(RUNS,)), ctx)
    assert texts(made) == ["answer 5", "answer 4"]
    assert runner.checked == [("4", RUNS.text), ("5", RUNS.text)]
    assert not ctx.draws


def test_both_kinds_of_tests_count_together_in_the_order_written() -> None:
    ctx = FakeContext({"judge_tests": judges}, sandbox=Runner())
    made = run(UnitTestEvaluator(model="m"), under_test("odd, answer 4", "odd, answer 5", tests=(RUNS, ODD)), ctx)
    assert texts(made) == ["odd, answer 5", "odd, answer 4"]
    assert made.candidates[1].tests == (TestResult(RUNS, False), TestResult(ODD, True))


def test_no_sandbox_no_program_or_a_broken_sandbox_leave_a_test_unjudged() -> None:
    without = FakeContext({"judge_tests": judges})
    made = run(UnitTestEvaluator(model="m"), under_test("odd, answer 5", tests=(RUNS, ODD)), without)
    assert made.candidates[0].tests == (TestResult(RUNS, None), TestResult(ODD, True))
    assert any("no sandbox" in message for _, message in without.notes)
    ctx = FakeContext({"judge_tests": judges}, sandbox=Runner())
    made = run(UnitTestEvaluator(model="m"), under_test("odd", "odd, answer broken", tests=(RUNS, ODD)), ctx)
    assert [each.tests[0].passed for each in made.candidates] == [None, None]
    assert ("failed", "candidate 'earlier#1' could not be run: the sandbox is not there") in ctx.notes


def code_tests(*words: str) -> tuple[UnitTest, ...]:
    return tuple(UnitTest(f"assert {word}", code=True) for word in words)


def evaluated(answers: tuple[str, ...], words: str, **parameters: Any) -> tuple[State, FakeContext]:
    ctx = FakeContext(sandbox=Runner())
    given = under_test(*(f"answer {each}" for each in answers), tests=code_tests(*words))
    return run(UnitTestEvaluator(model="m", **parameters), given, ctx), ctx


def test_one_program_is_run_once_with_all_tests() -> None:
    made, ctx = evaluated(("ab", "b", "ab"), "ab")
    assert isinstance(ctx.sandbox, Runner)
    assert [program for program, _ in ctx.sandbox.checked] == ["ab", "ab", "b", "b"]
    assert texts(made) == ["answer ab", "answer ab", "answer b"]


def test_executable_tests_that_all_or_none_pass_carry_no_weight() -> None:
    # "a" is passed by all and "z" by none; of "b" and "c" the candidates pass 1, 2 and 0.
    made, _ = evaluated(("ab", "abc", "a"), "abcz")
    assert [(each.text, each.score) for each in made.candidates] == [
        ("answer abc", 1.0),
        ("answer ab", 0.5),
        ("answer a", 0.0),
    ]
    assert len(made.candidates[0].tests) == 4
    made, ctx = evaluated(("ab", "abc", "a"), "abcz", first_pass=True)
    assert texts(made) == ["answer abc"]
    assert not ctx.notes


def test_where_no_test_tells_the_candidates_apart_all_tests_count() -> None:
    made, _ = evaluated(("a", "a"), "az")
    assert [each.score for each in made.candidates] == [0.5, 0.5]


def test_dual_agreement_prefers_what_many_candidates_agree_on() -> None:
    # Telling tests: a, b, c, d (each passed by some and not by all). The lone candidate passes 3 of them: 1 × 3 = 3.
    # Two candidates pass the same 2 tests: 2 × 2 = 4. Divided by 4 candidates × 4 tests: 3/16, 4/16, and 1/16 for "d".
    answers = ("abc", "ab", "ba", "d")
    made, _ = evaluated(answers, "abcd", agreement=True)
    assert [(each.text, each.score) for each in made.candidates] == [
        ("answer ab", 4 / 16),
        ("answer ba", 4 / 16),
        ("answer abc", 3 / 16),
        ("answer d", 1 / 16),
    ]
    assert texts(evaluated(answers, "abcd")[0])[0] == "answer abc"


def test_in_dual_agreement_what_all_candidates_share_supports_them() -> None:
    # All pass a, b and c; only the last passes d as well: 3 × 3 = 9 against 1 × 4, over 4 candidates × 4 tests.
    made, _ = evaluated(("abc", "bca", "cab", "abcd"), "abcd", agreement=True)
    assert [each.score for each in made.candidates] == [9 / 16, 9 / 16, 9 / 16, 4 / 16]


def test_plan() -> None:
    assert UnitTestEvaluator(model="m", keep=2).plan(5) == Plan(calls=5, candidates=2, contingent=5)
    assert UnitTestEvaluator(model="m").plan(5).candidates == 5
