"""Which of a program's functions a test may call."""

from __future__ import annotations

import ast
import builtins
import warnings

_LONGEST = 100_000  # characters of a program that is read for its names


def exposed(program: str) -> tuple[str, ...]:
    """Names that a program defines at its top level, without those that Python itself has: a test's `len` is `len`."""
    if len(program) > _LONGEST:
        return ()
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    names = dict.fromkeys(name for node in tree.body for name in _bound(node))
    return tuple(name for name in names if not hasattr(builtins, name))


def _bound(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]
