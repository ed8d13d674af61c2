"""Scores model-written Python: 1 where the program in an answer passes every hidden test, else 0.

One scorer serves every code benchmark; what differs from question to question stands in the question's `meta`, which
no model is shown. To make a question:

    task = CodeTask.of("f", tests=[("([1, 2],)", "3"), "assert f([]) == 0"])
    Question(id, (user("f(xs): the sum of xs"),), meta=task.to_meta())

A hidden test is either a pair of literals, the call's arguments (a tuple or list) and the expected result, or Python
statements that raise when the answer is wrong. Both run in the sandbox, in a process that the answer's own code shares
nothing with: the tests see the answer as a function `entry_point` that takes and returns plain data (numbers, text,
bytes, None, lists, tuples, dicts, sets, nested as you like), so code can neither read the tests nor forge a pass.

`CodeScorer().score(question, answer, ctx)` needs a context with a sandbox; `evaluate(..., sandbox=...)` gives it one.
"""

from __future__ import annotations

import ast
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from archon.errors import ArchonError, ConfigError
from archon.extract import code
from archon.protocols import Context, Sandbox
from archon.types import Completion, Question, Score

_LONGEST = 100_000  # characters; no function asked for is longer

HiddenTest = str | Sequence[str]
"""Statements, or a pair (arguments literal, expected literal)."""


@dataclass(frozen=True, slots=True)
class CodeTask:
    """What the scorer needs to know of a question; `of` makes one from tests in either form."""

    entry_point: str
    """Name of the function asked for."""
    tests: tuple[str, ...]
    """Python statements; a test that raises is failed."""
    preamble: str = ""
    """Code the question gives before the function's body: imports, helper functions, the function's head. An answer
    may repeat it or go on where it ends."""

    @classmethod
    def of(cls, entry_point: str, tests: Iterable[HiddenTest], preamble: str = "") -> CodeTask:
        """A task from tests as statements or pairs of literals.

        Raises:
            ConfigError: no test, no identifier, or a test that is not of either form; names what is wrong.
        """
        if not entry_point.isidentifier():
            raise ConfigError(f"entry_point {entry_point!r} is no Python name; give the name of the function asked for")
        statements = tuple(_statements(entry_point, test) for test in tests)
        if not statements:
            raise ConfigError(f"the task {entry_point!r} has no hidden test; an answer could not be scored")
        return cls(entry_point, statements, preamble)

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> CodeTask | None:
        """The task of a question's `meta`; None where it is no code question."""
        if "entry_point" not in meta or "tests" not in meta:
            return None
        return cls.of(meta["entry_point"], meta["tests"], meta.get("preamble", ""))

    def to_meta(self) -> dict[str, Any]:
        """Plain data that `from_meta` reads."""
        return {"entry_point": self.entry_point, "tests": list(self.tests), "preamble": self.preamble}


@dataclass(frozen=True, slots=True)
class CodeScorer:
    """1 where the program in an answer passes all hidden tests of its question, else 0 (pass@1 of one answer).

    The value is None only where the question has no tests or the sandbox itself failed.
    """

    needs_sandbox: ClassVar[bool] = True

    async def score(self, question: Question, answer: Completion, ctx: Context | None = None) -> Score:
        """The score. Raises ConfigError where there is no sandbox to run code in."""
        sandbox = ctx.sandbox if ctx else None
        if sandbox is None:
            raise ConfigError("code needs a sandbox to run in; pass sandbox=archon.sandbox.CodeSandbox()")
        task = CodeTask.from_meta(question.meta)
        if task is None:
            return Score(None, explanation="the question has no hidden tests")
        program = program_of(answer.text, task)
        if program is None:
            return Score(0.0, None, f"the answer holds no Python code that defines {task.entry_point!r}")
        return await _examined(sandbox, program, task)


async def _examined(sandbox: Sandbox, program: str, task: CodeTask) -> Score:
    try:
        passed = await sandbox.check_all(program, task.tests, names=(task.entry_point,))
    except ConfigError:
        raise
    except ArchonError as error:
        return Score(None, program, f"not run: {error}")
    return Score(float(all(passed)), program, f"{sum(passed)} of {len(passed)} hidden tests passed")


def program_of(text: str, task: CodeTask) -> str | None:
    """The whole program in an answer, which may be fenced, may repeat the preamble, or may only go on after it.

    None where nothing in the answer is Python that defines the function asked for.
    """
    found = code(text)
    for candidate in (found, text) if found is not None and found != text else (text,):
        if candidate is not None and _defines(_parsed(candidate), task.entry_point):
            return _joined(givens(task.preamble, task.entry_point), candidate)
    return _continued(text, task) or (_continued(found, task) if found is not None else None)


def _continued(body: str, task: CodeTask) -> str | None:
    """The preamble with `body` as the body of the function it ends on, as written or indented anew."""
    if not task.preamble:
        return None
    indented = textwrap.indent(textwrap.dedent(body).strip("\n"), "    ")
    for form in (body, indented) if body.lstrip("\n")[:1].isspace() or not body.strip() else (indented,):
        program = f"{task.preamble.rstrip()}\n{form}"
        if _defines(_parsed(program), task.entry_point):
            return program
    return None


def givens(preamble: str, entry_point: str) -> str:
    """What a preamble gives beside the function asked for: imports and helper functions."""
    tree = _parsed(preamble)
    if tree is None:
        return ""
    return ast.unparse(ast.Module([node for node in tree.body if getattr(node, "name", None) != entry_point], []))


def _joined(givens: str, program: str) -> str:
    """Givens before the program, behind its `from __future__` lines, which must stand first."""
    return f"{givens}\n\n{program}" if givens and "from __future__" not in program else program


def _defines(tree: ast.Module | None, name: str) -> bool:
    if tree is None:
        return False
    return any(name in _names(node) for node in tree.body)


def _names(node: ast.stmt) -> set[str]:
    """Names a top-level statement binds: a definition, an assignment, an import."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return {leaf.id for leaf in ast.walk(node) if isinstance(leaf, ast.Name) and isinstance(leaf.ctx, ast.Store)}


def _parsed(source: str) -> ast.Module | None:
    if len(source) > _LONGEST:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _statements(entry_point: str, test: HiddenTest) -> str:
    if isinstance(test, str):
        return test
    if len(test) != 2 or not all(isinstance(part, str) for part in test):
        raise ConfigError(
            f"hidden test {test!r:.80} of {entry_point!r}: give statements, or a pair (arguments literal, "
            'expected literal) such as ("(1, 2)", "3")'
        )
    arguments, expected = test
    if not isinstance(_literal(arguments, entry_point), tuple | list):
        raise ConfigError(f"hidden test of {entry_point!r}: the arguments {arguments!r:.80} must be a tuple or a list")
    _literal(expected, entry_point)
    return f"assert {entry_point}(*{arguments}) == {expected}"


def _literal(text: str, entry_point: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        raise ConfigError(f"hidden test of {entry_point!r}: {text!r:.80} is no Python literal") from None
