"""The ledger family: exact, deterministic, split by question."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archon.zoo.ledger import KINDS, LedgerProblem, Split, ledger_problems, split_of
from archon.zoo.ledger_desk import answer_of
from archon.zoo.mistakes import Line, wrong_solution

SPLITS: tuple[Split, ...] = ("train", "search", "selection", "held_out")


def computed(problem: LedgerProblem) -> int:
    """The answer recomputed from the steps' left sides with Python's own arithmetic."""
    results = list[int]()
    for step in problem.steps:
        left, _, right = step.partition(" = ")
        a, op, b = left.split()
        value = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b), "/": int(a) / int(b)}[op]
        assert value == int(right), step
        results.append(int(value))
    return results[-1]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), largest=st.integers(60, 400), kind=st.sampled_from(sorted(KINDS)))
def test_steps_are_exact_end_in_the_answer_and_stay_in_range(seed: int, largest: int, kind: str) -> None:
    for problem in ledger_problems(seed, 5, split="search", largest=largest, kinds=[kind]):
        assert computed(problem) == problem.answer
        assert problem.kind == kind
        assert all(0 < int(word) <= largest for step in problem.steps for word in step.split() if word.isdigit())


def test_every_number_a_step_uses_is_in_the_question_or_an_earlier_result() -> None:
    for problem in ledger_problems(3, 400):
        known = {int(word.strip(".?")) for word in problem.question.split() if word.strip(".?").isdigit()}
        for step in problem.steps:
            line = Line.parse(step)
            assert {line.left, line.right} <= known, (problem.question, step)
            known.add(line.shown)


def test_all_kinds_and_all_step_counts_occur() -> None:
    problems = ledger_problems(0, 300)
    assert {problem.kind for problem in problems} == set(KINDS)
    assert {len(problem.steps) for problem in problems} == {2, 3, 4}


def test_same_seed_same_problems_and_a_longer_list_extends_a_shorter_one() -> None:
    assert ledger_problems(5, 40) == ledger_problems(5, 60)[:40]
    assert ledger_problems(5, 40) != ledger_problems(6, 40)


def test_questions_are_distinct_and_splits_are_disjoint() -> None:
    found = {split: [p.question for p in ledger_problems(1, 500, split=split)] for split in SPLITS}
    everything = [question for questions in found.values() for question in questions]
    assert len(set(everything)) == len(everything) == 2000
    assert all(split_of(question) == split for split, questions in found.items() for question in questions)


def test_impossible_difficulty_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="steps"):
        ledger_problems(0, 1, steps=(1, 2))
    with pytest.raises(ValueError, match="largest"):
        ledger_problems(0, 1, largest=10)


def test_wrong_solutions_are_wrong_well_formed_and_varied() -> None:
    rng, problems = random.Random(0), ledger_problems(2, 200)
    for problem in problems:
        text = wrong_solution(rng, problem.steps)
        assert answer_of(text) != str(problem.answer)
        *lines, last = text.split(" ; ")
        assert last == f"answer {Line.parse(lines[-1]).shown}"
    assert len({wrong_solution(rng, problems[0].steps) for _ in range(50)}) > 5
