"""Scoring code: tests in either form, what counts as a program, and what is no score."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from archon import Generator
from archon.clients.stack import ClientStack
from archon.context import NodeContext, RunContext
from archon.errors import ConfigError
from archon.evals.benchmarks.base import QuestionSet
from archon.evals.code_scorer import CodeScorer, CodeTask, program_of
from archon.evals.runner import evaluate
from archon.extract import code
from archon.models import ModelTable
from archon.sandbox import CodeSandbox, SandboxError
from archon.types import Completion, Question, Score, Usage, assistant, user
from tests.sandbox.opening import opened

PAIRS = [("([1, 2],)", "3"), ("[[]]", "0")]
TASK = CodeTask.of("f", [*PAIRS, "import math\nassert math.isclose(f([0.1, 0.2]), 0.3)"])
QUESTION = Question("q", (user("f(xs): the sum"),), meta=TASK.to_meta())


@pytest.fixture(scope="module")
def sandbox() -> Iterator[CodeSandbox]:
    yield from opened()


class Broken:
    """A sandbox that does not work."""

    async def check(self, program: str, test: str) -> bool:
        raise SandboxError("bwrap is gone")

    async def check_all(self, program: str, tests: Sequence[str], *, names: Sequence[str] = ()) -> tuple[bool, ...]:
        raise SandboxError("bwrap is gone")


def scored(text: str, sandbox: Any, question: Question = QUESTION) -> Score:
    context = NodeContext(RunContext(ClientStack(ModelTable()), code, sandbox=sandbox), "scorer")
    answer = Completion(assistant(text), "m", Usage())
    return asyncio.run(CodeScorer().score(question, answer, context))


def test_a_program_scores_where_it_passes_all_tests(sandbox: CodeSandbox) -> None:
    assert scored("def f(xs): return sum(xs)", sandbox) == Score(
        1.0, "def f(xs): return sum(xs)", "3 of 3 hidden tests passed"
    )
    half = scored("```python\ndef f(xs): return 3 if xs else 0\n```", sandbox)
    assert (half.value, half.explanation) == (0.0, "2 of 3 hidden tests passed")
    none = scored("The sum of the list.", sandbox)
    assert (none.value, none.extracted) == (0.0, None)


def test_a_helper_may_not_stand_in_for_what_tests_use(sandbox: CodeSandbox) -> None:
    cheat = "import math\ndef f(xs): return 0\nclass math:\n    isclose = lambda *a: True"
    assert scored(cheat, sandbox).explanation == "1 of 3 hidden tests passed"


def test_what_says_nothing_of_the_answer_is_no_score(sandbox: CodeSandbox) -> None:
    broken = scored("def f(xs): return sum(xs)", Broken())
    assert (broken.value, broken.explanation) == (None, "not run: bwrap is gone")
    assert scored("def f(xs): return 0", sandbox, Question("q", (user("?"),))).value is None
    with pytest.raises(ConfigError, match="sandbox"):
        scored("def f(xs): return 0", None)


@pytest.mark.parametrize(
    ("entry_point", "tests", "said"),
    [
        ("f g", PAIRS, "no Python name"),
        ("f", [], "no hidden test"),
        ("f", [("(1,)",)], "a pair"),
        ("f", [(1, 2)], "a pair"),
        ("f", [("3", "4")], "must be a tuple or a list"),
        ("f", [("(1,)", "g(1)")], "no Python literal"),
        ("f", [("(1,", "1")], "no Python literal"),
    ],
)
def test_a_task_that_cannot_be_scored_is_told(entry_point: str, tests: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        CodeTask.of(entry_point, tests)


def test_a_task_comes_back_from_a_questions_meta() -> None:
    assert CodeTask.from_meta({**TASK.to_meta(), "kind": "xs"}) == TASK
    assert CodeTask.from_meta({"kind": "xs"}) is None


@pytest.mark.parametrize(
    "text", ["f = lambda xs: 0", "from operator import add as f", "class f: pass", "async def f(): pass"]
)
def test_every_way_to_define_the_function_counts(text: str) -> None:
    assert program_of(text, TASK) == text


@pytest.mark.parametrize("text", ["", "f(3)", "def g(): pass", "def f(", "x" * 200_000, "(" * 3000, "def f():\n\0"])
def test_text_without_the_function_is_no_program(text: str) -> None:
    assert program_of(text, TASK) is None


def benchmark() -> QuestionSet:
    return QuestionSet(
        name="sums", extractor="code", scorer=CodeScorer(), splits={"search": (QUESTION,)}, source="here"
    )


async def evaluated(sandbox: CodeSandbox | None) -> float | None:
    options = {"answers": ["def f(xs): return sum(xs)"]}
    stack = ClientStack(ModelTable.from_list([{"id": "m", "client": "fake", "options": options}]))
    try:
        found = await evaluate(
            Generator("m").architecture(), benchmark(), benchmark().questions("search"), stack, sandbox=sandbox
        )
        return found.mean
    finally:
        await stack.aclose()


async def test_an_evaluation_gives_the_scorer_its_sandbox(sandbox: CodeSandbox) -> None:
    assert await evaluated(sandbox) == 1.0


async def test_an_evaluation_of_code_without_a_sandbox_asks_nothing() -> None:
    with pytest.raises(ConfigError, match="benchmark 'sums' runs the answers' code"):
        await evaluated(None)
