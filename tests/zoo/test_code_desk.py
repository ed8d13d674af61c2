"""Lessons about code: wrong functions are wrong, judgements are true, tests hold."""

import random

import pytest

from archon.zoo.code_desk import CodeDesk
from archon.zoo.minicode import minicode_tasks
from archon.zoo.roles import drawn

TASKS = minicode_tasks(9, 40, split="train")
ROLES = ("solve", "fuse", "rank", "compare", "critique", "verify", "verdict", "write_tests")


def passes(code: str, task: object) -> bool:
    """Whether a function gives every result of the task's calls."""
    space: dict[str, object] = {}
    exec(code, space)
    try:
        return all(
            space["f"](*call.arguments) == call.result  # type: ignore[operator]
            for call in (*task.examples, *task.tests)  # type: ignore[attr-defined]
        )
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return False


def test_wrong_functions_fail_and_right_ones_pass() -> None:
    rng = random.Random(0)
    for task in TASKS:
        desk = CodeDesk(rng, task)
        assert passes(desk.right().text, task)
        for _ in range(5):
            wrong = desk.wrong()
            assert not passes(wrong.text, task)
            assert wrong.fault != "nothing"


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_lessons_about_code(role: str) -> None:
    rng = random.Random(role)
    for task in TASKS:
        example = drawn(rng, role, task)
        assert example.parts[0] == task.question
        assert example.answer


def test_a_ranking_puts_functions_that_pass_first() -> None:
    rng = random.Random(1)
    for task in TASKS:
        example = drawn(rng, "rank", task)
        texts = [
            text for label, text in zip(example.parts[1::2], example.parts[2::2], strict=True) if label == "candidate"
        ]
        order = [int(n) - 1 for n in example.answer.rpartition("order ")[2].split(" > ")]
        right = [passes(texts[i], task) for i in order]
        assert right == sorted(right, reverse=True)


def test_a_verdict_is_true() -> None:
    rng = random.Random(2)
    for task in TASKS:
        example = drawn(rng, "verdict", task)
        assert (example.answer == "yes") == passes(example.parts[2], task)


def test_written_tests_hold_of_the_right_function() -> None:
    rng = random.Random(3)
    for task in TASKS:
        space: dict[str, object] = {}
        exec(task.solution, space)
        lines = drawn(rng, "write_tests", task).answer.split("\n")[1:]
        assert lines
        assert all(eval(line, space) is True for line in lines)
