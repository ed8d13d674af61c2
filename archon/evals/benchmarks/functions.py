"""`humaneval` and `mbpp`: Python functions asked for in words, scored by the data set's own hidden tests.

`humaneval` (Chen et al. 2021, arXiv 2107.03374): each line holds `task_id`, `prompt` (imports, helper functions, the
head and docstring of the function), `entry_point` and `test` (a function `check(candidate)`). A question's tests are
one: `check` of the answer's function. Helpers that tests call are the prompt's own and not the answer's.

`mbpp` (Austin et al. 2021, arXiv 2108.07732): each line holds `text` (or `prompt`), `code`, `test_list` and, in its two
forms, `test_setup_code` or `test_imports`. The function is named by what the tests call; its first test is shown, as
usual for this set, and the others stay hidden; all are scored.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from archon.errors import ConfigError
from archon.evals.benchmarks.base import FileOptions, QuestionSet, question_id, read_options
from archon.evals.benchmarks.jsonl import distinct, instructed
from archon.evals.benchmarks.records import Record, read_records
from archon.evals.benchmarks.splits import cut, deal
from archon.evals.code_scorer import CodeScorer, CodeTask, givens
from archon.types import Message, Question, Split, user

HUMANEVAL_HINT = "the path of HumanEval.jsonl (plain or .gz) from github.com/openai/human-eval"
MBPP_HINT = "the path of mbpp.jsonl or sanitized-mbpp.jsonl from github.com/google-research/google-research/mbpp"
INSTRUCTION = "Give the whole function, with its imports, in one ```python block."
USUAL: Mapping[Split, int | None] = MappingProxyType({"search": None, "selection": None, "held_out": None})


class FunctionOptions(FileOptions):
    """Options of `humaneval` and `mbpp`."""

    instruction: str = INSTRUCTION
    """Words added after every question; "" for none."""


class HumanEval(QuestionSet):
    """The benchmark `humaneval`."""

    options: ClassVar[type[FunctionOptions]] = FunctionOptions

    @classmethod
    def load(cls, **options: Any) -> HumanEval:
        """Reads the file. Options: see `FunctionOptions`.

        Raises:
            ConfigError: a wrong option, or a file that cannot be read as tasks; names the line.
        """
        chosen = read_options(FunctionOptions, "humaneval", options, HUMANEVAL_HINT)
        return cls(name="humaneval", extractor="code", scorer=CodeScorer(), **_dealt(chosen, humaneval_question))


class Mbpp(QuestionSet):
    """The benchmark `mbpp`."""

    options: ClassVar[type[FunctionOptions]] = FunctionOptions

    @classmethod
    def load(cls, **options: Any) -> Mbpp:
        """Reads the file. Options: see `FunctionOptions`.

        Raises:
            ConfigError: a wrong option, or a file that cannot be read as tasks; names the line.
        """
        chosen = read_options(FunctionOptions, "mbpp", options, MBPP_HINT)
        return cls(name="mbpp", extractor="code", scorer=CodeScorer(), **_dealt(chosen, mbpp_question))


def humaneval_question(record: Record, instruction: str) -> Question:
    """A line of HumanEval as a question."""
    prompt, entry_point = record.text("prompt"), record.text("entry_point")
    check = f"{givens(prompt, entry_point)}\n\n{record.text('test')}\n\ncheck({entry_point})"
    asked = (user(f"Complete this Python function.\n\n```python\n{prompt.rstrip()}\n```"),)
    return _question(record, asked, instruction, CodeTask.of(entry_point, [check], prompt))


def mbpp_question(record: Record, instruction: str) -> Question:
    """A line of MBPP, in either of its forms, as a question."""
    tests = record.data.get("test_list")
    if not (isinstance(tests, list) and tests and all(isinstance(test, str) for test in tests)):
        raise ConfigError(f"{record.where}: field 'test_list' must be a list of assertions, got {tests!r:.60}")
    entry_point = _called(tests, record.data.get("code"))
    if entry_point is None:
        raise ConfigError(f"{record.where}: the tests call no function that 'code' defines; mend 'test_list' or 'code'")
    setup = "\n".join([*(record.data.get("test_imports") or []), record.data.get("test_setup_code") or ""]).strip()
    asked = (user(f"{record.text('text' if 'text' in record.data else 'prompt')}\n\nIt must pass: {tests[0]}"),)
    task = CodeTask.of(entry_point, [f"{setup}\n{test}" if setup else test for test in tests])
    return _question(record, asked, instruction, task)


def _question(record: Record, asked: tuple[Message, ...], instruction: str, task: CodeTask) -> Question:
    meta = {**task.to_meta(), "task_id": record.data.get("task_id")}
    return Question(question_id(asked), instructed(asked, instruction), None, meta)


def _dealt(chosen: FunctionOptions, make: Any) -> dict[str, Any]:
    questions = distinct(read_records(chosen.path), lambda record: make(record, chosen.instruction))
    splits = cut(deal(questions, chosen.seed), chosen.sizes(USUAL), chosen.explicit(), str(chosen.path))
    return {"splits": splits, "source": str(chosen.path)}


def _called(tests: Sequence[str], code: object) -> str | None:
    """The function that every test calls and the recorded solution defines."""
    defined = [name for name in _defined(code) if all(name in _names(test) for test in tests)]
    return defined[-1] if defined else None


def _defined(code: object) -> list[str]:
    try:
        tree = ast.parse(code) if isinstance(code, str) else ast.Module([], [])
    except SyntaxError:
        return []
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def _names(test: str) -> set[str]:
    try:
        return {node.id for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Name)}
    except SyntaxError:
        return set()
