"""Executable tests in a model's text: every assertion a test of its own, with the imports it may need.

An assertion counts where it stands at the top level or directly in a function that takes no arguments (`def test_1():`)
and is made of assertions alone. Where the code as a whole is not Python, its lines are read one by one, so that one bad
line costs itself.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator

from archon.errors import UnparseableError
from archon.extract import code
from archon.protocols import Tests
from archon.types import UnitTest

_LONGEST = 50_000  # characters


def assertions(text: str, most: int | None) -> Tests:
    """The assertions in a text, in order, repeats once, at most `most`. Raises UnparseableError where there is none."""
    source = (code(text) or text)[:_LONGEST]
    tree = _parsed(source)
    nodes = tree.body if tree else [node for line in source.splitlines() for node in _line(line)]
    imports = [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    written = dict.fromkeys("\n".join([*imports, ast.unparse(each)]) for node in nodes for each in _asserted(node))
    if not written:
        raise UnparseableError("no tests: no line `assert name(arguments) == result` that is Python")
    return Tests(tuple(UnitTest(each, code=True) for each in list(written)[:most]))


def _asserted(node: ast.stmt) -> Iterator[ast.Assert]:
    if isinstance(node, ast.Assert):
        yield node
    elif isinstance(node, ast.FunctionDef) and not node.args.args:
        inner = node.body[1:] if ast.get_docstring(node) else node.body
        if all(isinstance(each, ast.Assert) for each in inner):
            yield from (each for each in inner if isinstance(each, ast.Assert))


def _line(line: str) -> list[ast.stmt]:
    stripped = line.strip().lstrip("-*• ").strip("`")
    tree = _parsed(stripped) if stripped.startswith(("assert ", "assert(", "import ", "from ")) else None
    return tree.body if tree else []


def _parsed(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
