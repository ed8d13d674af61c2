"""The zoo's prompt pack: what layers ask comes out as structure, what models say comes back typed."""

import random

import pytest

from archon.errors import UnparseableError
from archon.protocols import (
    Critiques,
    Judgements,
    Preference,
    PromptPack,
    Ranking,
    Role,
    RoleInputs,
    RoleOutput,
    Tests,
    Verdict,
)
from archon.types import Candidate, UnitTest, assistant, system, user
from archon.zoo.encoding import structure
from archon.zoo.ledger import ledger_problems
from archon.zoo.pack import ZooPack
from archon.zoo.roles import drawn

PACK = ZooPack()
TWO = (
    Candidate("a", assistant("1 + 1 = 2 ; answer 2"), "m", "n", critique="good 1 + 1 = 2 , bad nothing"),
    Candidate("b", assistant("1 + 1 = 3 ; answer 3"), "m", "n"),
)
INPUTS = RoleInputs((system("Be kind."), user("1 and 1?")), TWO, (UnitTest("is even"), UnitTest("ends in 3")), "so 2")


def rendered(role: Role, inputs: RoleInputs = INPUTS) -> tuple[str, list[str]]:
    return structure([message.to_dict() for message in PACK.render(role, inputs)])


def test_it_is_a_prompt_pack() -> None:
    assert isinstance(PACK, PromptPack)


def test_each_role_gets_the_parts_it_was_trained_with() -> None:
    first, second = (candidate.text for candidate in TWO)
    critique = TWO[0].critique
    plain = ["1 and 1?", "candidate", first, "candidate", second]
    assert rendered("generate") == ("solve", ["1 and 1?"])
    assert rendered("fuse") == ("fuse", ["1 and 1?", "candidate", first, "critique", critique, "candidate", second])
    assert rendered("rank")[1] == rendered("fuse")[1]
    assert rendered("compare") == ("compare", plain)
    assert rendered("critique") == ("critique", plain)
    assert rendered("verify") == ("verify", plain)
    assert rendered("verdict") == ("verdict", [*plain, "reasoning", "so 2"])
    assert rendered("write_tests") == ("write_tests", ["1 and 1?"])
    assert rendered("judge_tests") == ("judge_tests", [*plain, "test", "is even", "test", "ends in 3"])


def test_a_verdict_on_stated_answers_sees_those_alone() -> None:
    inputs = RoleInputs(INPUTS.conversation, TWO[:1], reasoning="1 * 3 = 3 ; answer 3")
    assert rendered("verdict", inputs) == ("verdict", ["", "candidate", "answer 2", "reasoning", "answer 3"])


def test_a_repair_asks_for_the_missed_role_again() -> None:
    assert rendered("repair", RoleInputs(INPUTS.conversation, TWO, wanted="compare")) == rendered("compare")


@pytest.mark.parametrize(
    ("role", "text", "output"),
    [
        ("rank", "1 + 1 = 9 ; answer 9\norder 2 > 1", Ranking((1, 0))),
        ("rank", "1 + 2 = 3 ; answer 3\norder 1 > 2", Ranking((1, 0))),
        ("rank", "order 2 > 2 > 9", Ranking((1,))),
        ("compare", "answer 2\nbetter A", Preference(1.0)),
        ("compare", "answer 9\nbetter B", Preference(0.0)),
        ("compare", "answer 3\nbetter A", Preference(0.0)),
        ("critique", "answer 2\n1 : good\n2 : bad", Critiques(("good", "bad"))),
        ("compare", "answer 2\n2 yes 3 no better A", Preference(1.0)),
        ("critique", "answer 2\n2 : bad", Critiques((None, "bad"))),
        ("verdict", "yes", Verdict(True)),
        ("verdict", "no ", Verdict(False)),
        ("verdict", "26 27 no", Verdict(False)),
        ("rank", "answer 2\n2 yes 3 no order 1 > 2", Ranking((0, 1))),
        ("judge_tests", "142 ; 1 pass ; 2 fail", Judgements((True, False))),
        ("write_tests", "answer 2\nis even\nis even\nends in 2", Tests((UnitTest("is even"), UnitTest("ends in 2")))),
        ("judge_tests", "1 pass ; 2 fail", Judgements((True, False))),
        ("judge_tests", "2 pass", Judgements((None, True))),
    ],
)
def test_texts_of_the_learnt_form_are_read(role: Role, text: str, output: RoleOutput) -> None:
    assert PACK.parse(role, text, INPUTS) == output


LONGER, SHORTER = "def f(xs): return sorted(xs)[:2]", "def f(xs): return sorted(xs)"
FUNCTIONS = tuple(Candidate(str(i), assistant(code), "zoo", "n") for i, code in enumerate((SHORTER, LONGER)))


@pytest.mark.parametrize(
    ("role", "text", "output"),
    [
        ("rank", f"{LONGER}\n1 yes 2 yes order 1 > 2", Ranking((1, 0))),
        ("compare", f"{LONGER}\nA yes B yes better A", Preference(0.0)),
        ("compare", "def f(xs): return 1\nA yes B no better A", Preference(1.0)),
    ],
)
def test_a_function_equal_to_the_judges_own_is_preferred(role: Role, text: str, output: RoleOutput) -> None:
    assert PACK.parse(role, text, RoleInputs(INPUTS.conversation, FUNCTIONS)) == output


@pytest.mark.parametrize(("own", "correct"), [(SHORTER, True), (LONGER, False)])
def test_a_function_is_right_where_it_is_the_verifiers_own(own: str, correct: bool) -> None:
    asked = RoleInputs(INPUTS.conversation, FUNCTIONS[:1], reasoning=own)
    assert PACK.parse("verdict", "yes", asked) == Verdict(correct)
    # Of longer programs the first line says too little, and a second function would be the one that runs.
    for longer in ("def f(xs):\n    return 2", f"{SHORTER}\n{LONGER}"):
        asked = RoleInputs(INPUTS.conversation, FUNCTIONS[:1], reasoning=longer)
        assert PACK.parse("verdict", "no", asked) == Verdict(False)
        assert PACK.parse("verdict", "yes", asked) == Verdict(True)


@pytest.mark.parametrize("role", ["rank", "compare", "critique", "verdict", "write_tests", "judge_tests"])
def test_other_texts_are_unparseable(role: Role) -> None:
    with pytest.raises(UnparseableError, match=role):
        PACK.parse(role, "12 + 30", INPUTS)


def test_roles_whose_output_is_text_are_not_parsed() -> None:
    with pytest.raises(UnparseableError, match="text itself"):
        PACK.parse("fuse", "answer 2", INPUTS)


@pytest.mark.parametrize(("reasoning", "correct"), [("1 + 1 = 2 ; answer 2", True), ("1 + 2 = 3 ; answer 3", False)])
def test_a_verdict_is_read_off_the_two_answers_where_both_are_stated(reasoning: str, correct: bool) -> None:
    stated = Candidate("a", assistant("1 + 1 = 2 ; answer 2"), "zoo", "n")
    asked = RoleInputs(INPUTS.conversation, (stated,), reasoning=reasoning)
    for said in ("yes", "no", "2 2 yes", "2 3 no"):
        assert PACK.parse("verdict", said, asked) == Verdict(correct)


def test_no_more_tests_than_asked_for() -> None:
    output = PACK.parse("write_tests", "w\nis even\nends in 2", RoleInputs(INPUTS.conversation, count=1))
    assert output == Tests((UnitTest("is even"),))


@pytest.mark.parametrize("role", ["rank", "compare", "critique", "verdict", "write_tests", "judge_tests"])
def test_every_lesson_answer_is_parseable(role: Role) -> None:
    rng = random.Random(0)
    for problem in ledger_problems(1, 30, split="train"):
        example = drawn(rng, role, problem)
        labelled = list(zip(example.parts[1::2], example.parts[2::2], strict=True))
        candidates = tuple(Candidate(t, assistant(t), "m", "n") for label, t in labelled if label == "candidate")
        tests = tuple(UnitTest(t) for label, t in labelled if label == "test")
        output = PACK.parse(role, example.answer, RoleInputs((user(problem.question),), candidates, tests))
        if isinstance(output, Ranking):
            assert len(output.order) == len(candidates)
        if isinstance(output, Critiques):
            assert None not in output.texts
        if isinstance(output, Judgements):
            assert None not in output.passed
