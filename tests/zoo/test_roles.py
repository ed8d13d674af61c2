"""Role lessons: well formed, true to the candidates they show."""

import random

import pytest

from archon.zoo.encoding import LABELS, ROLES
from archon.zoo.ledger import LedgerProblem, ledger_problems
from archon.zoo.ledger_desk import answer_of, passes
from archon.zoo.mistakes import Line
from archon.zoo.roles import MAKERS, Example, drawn

PROBLEMS = ledger_problems(7, 60, split="train")


def lessons(role: str, count: int = 60) -> list[tuple[LedgerProblem, Example]]:
    rng = random.Random(role)
    return [(problem, drawn(rng, role, problem)) for problem in PROBLEMS[:count]]


def candidates(example: Example) -> list[str]:
    return [text for label, text in zip(example.parts[1::2], example.parts[2::2], strict=True) if label == "candidate"]


def exact(line: str) -> bool:
    parsed = Line.parse(line)
    return parsed.shown * (parsed.right if parsed.op == "/" else 1) == {
        "+": parsed.left + parsed.right, "-": parsed.left - parsed.right, "*": parsed.left * parsed.right,
        "/": parsed.left,
    }[parsed.op]  # fmt: skip


def test_every_role_has_lessons() -> None:
    assert set(MAKERS) == {*ROLES, "match"}


@pytest.mark.parametrize("role", ROLES)
def test_parts_are_the_question_then_labelled_texts(role: str) -> None:
    for problem, example in lessons(role):
        assert example.parts[0] in (problem.question, "")
        assert len(example.parts) % 2 == 1
        assert set(example.parts[1::2]) <= set(LABELS)


@pytest.mark.parametrize("role", ["solve", "fuse", "rank", "compare", "critique", "verify", "write_tests"])
def test_the_answer_begins_with_the_right_working(role: str) -> None:
    for problem, example in lessons(role):
        working = example.answer.split("\n")[0]
        assert answer_of(working) == str(problem.answer)
        assert all(exact(line) for line in working.split(" ; ")[:-1])


def test_a_ranking_names_each_candidate_once_and_right_ones_first() -> None:
    for problem, example in lessons("rank"):
        order = [int(n) - 1 for n in example.answer.rpartition("order ")[2].split(" > ")]
        texts = candidates(example)
        cited = example.answer.split("\n")[1].partition(" order")[0]
        marks = ["yes" if answer_of(text) == str(problem.answer) else "no" for text in texts]
        known = [
            f"{n} {answer_of(t)} {problem.answer} {m}" for n, (t, m) in enumerate(zip(texts, marks, strict=True), 1)
        ]
        assert cited == " ".join(known)
        assert sorted(order) == list(range(len(texts)))
        right = [answer_of(texts[i]) == str(problem.answer) for i in order]
        assert right == sorted(right, reverse=True)


def test_compare_prefers_the_right_one() -> None:
    for problem, example in lessons("compare"):
        chosen = candidates(example)["AB".index(example.answer[-1])]
        assert answer_of(chosen) == str(problem.answer)


def test_a_critique_finds_fault_exactly_with_wrong_candidates() -> None:
    for problem, example in lessons("critique"):
        lines = example.answer.split("\n")[1:]
        for line, text in zip(lines, candidates(example), strict=True):
            assert line.endswith("bad nothing") == (answer_of(text) == str(problem.answer))


def test_without_citing_a_judgement_stands_alone() -> None:
    rng = random.Random(0)
    for problem in PROBLEMS:
        example = drawn(rng, "verdict", problem, cited=False, marked=False)
        assert example.answer in ("yes", "no")
        assert example.judgement == 0


def test_a_judgement_begins_where_the_working_ends() -> None:
    for _, example in lessons("rank"):
        assert example.answer[example.judgement :].startswith("\n")
    for _, example in lessons("solve"):
        assert example.judgement == len(example.answer)


def test_verdicts_are_true_and_of_both_kinds() -> None:
    found = set()
    for problem, example in lessons("verdict"):
        right = answer_of(candidates(example)[0]) == str(problem.answer)
        cited = f"{answer_of(candidates(example)[0])} {problem.answer}"
        assert example.answer == f"{cited} {'yes' if right else 'no'}"
        found.add(right)
    assert found == {True, False}


def test_written_tests_hold_for_the_right_solution() -> None:
    for problem, example in lessons("write_tests"):
        assert all(passes(test, problem.solution) for test in example.answer.split("\n")[1:])


def test_tests_are_judged_one_by_one_by_what_they_say() -> None:
    for _, example in lessons("judge_tests"):
        tests, text = example.parts[4::2], candidates(example)[0]
        cited, *results = example.answer.split(" ; ")
        said = [part.split()[1] for part in results]
        assert cited == answer_of(text)
        assert said == ["pass" if passes(test, text) else "fail" for test in tests]


@pytest.mark.parametrize(
    ("test", "holds"),
    [
        ("is even", True), ("is odd", False), ("ends in 2", True), ("ends in 4", False), ("is more than 41", True),
        ("is more than 42", False), ("is less than 43", True), ("is less than 42", False), ("uses 12 + 30", True),
        ("uses 12 + 3", False), ("has 2 digits", True), ("has 3 digits", False),
    ],
)  # fmt: skip
def test_each_form_of_test_means_what_it_says(test: str, holds: bool) -> None:
    assert passes(test, "48 / 4 = 12 ; 12 + 30 = 42 ; answer 42") is holds
