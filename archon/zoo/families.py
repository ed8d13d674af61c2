"""The zoo's task families as its model card sees them: problems to ask, and how answers are read and marked."""

import ast
import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from archon.extract import code
from archon.zoo.ledger import LedgerProblem, ledger_problems
from archon.zoo.ledger_desk import answer_of, passes
from archon.zoo.minicode import ENTRY_POINT, Call, MiniTask, minicode_tasks, results

Problem = LedgerProblem | MiniTask
Marks = list[bool]


@dataclass(frozen=True, slots=True)
class Family:
    """One task family."""

    name: str
    problems: Callable[[int, int], Sequence[Problem]]
    """Held-out problems of a seed, so many."""
    answer: Callable[[str], str]
    """The final answer in a text, by which answers are compared."""
    mark: Callable[[Sequence[tuple[Problem, str]]], Marks]
    """Which of some answers are right."""
    holds: Callable[[Problem, str], bool | None]
    """Whether a right answer passes a written test; None where that cannot be decided."""


def _mark_numbers(answers: Sequence[tuple[Any, str]]) -> Marks:
    return [answer_of(text) == str(problem.answer) for problem, text in answers]


def _number_test(problem: Any, test: str) -> bool | None:
    try:
        return passes(test, problem.solution)
    except (ValueError, KeyError, IndexError):
        return None


def _mark_code(answers: Sequence[tuple[Any, str]]) -> Marks:
    """Every distinct program is run once, in the sandbox."""
    return asyncio.run(_run(answers))


async def _run(answers: Sequence[tuple[MiniTask, str]]) -> Marks:
    from archon.sandbox import CodeSandbox

    sandbox = CodeSandbox()

    async def passed(program: str, tests: tuple[str, ...]) -> bool:
        return all(await sandbox.check_all(program, tests, names=(ENTRY_POINT,)))

    try:
        jobs = {(text, tuple(f"assert {call}" for call in task.tests)) for task, text in answers}
        known = dict(zip(jobs, await asyncio.gather(*(passed(*job) for job in jobs)), strict=True))
    finally:
        await sandbox.aclose()
    return [known[text, tuple(f"assert {call}" for call in task.tests)] for task, text in answers]


def _code_test(problem: Any, test: str) -> bool | None:
    """Whether the right function gives the result on the arguments of `assert f(…) == …`; None where either is no
    literal."""
    try:
        said = ast.parse(test.removeprefix("assert "), mode="eval").body
        if not isinstance(said, ast.Compare) or not isinstance(said.left, ast.Call):
            return None
        call = Call(tuple(ast.literal_eval(each) for each in said.left.args), ast.literal_eval(said.comparators[0]))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return bool(results(problem.chain, (call,))[0] == call.result)


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "ledger": Family(
            "ledger", lambda seed, count: ledger_problems(seed, count), answer_of, _mark_numbers, _number_test
        ),
        "minicode": Family(
            "minicode",
            lambda seed, count: minicode_tasks(seed, count),
            lambda text: code(text) or text,
            _mark_code,
            _code_test,
        ),
    }
)
