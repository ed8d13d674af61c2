"""Calls with their results in a question: `f([1, 2]) == 3`, `f(1) -> 2`, and `>>> f(1)` with the result below it."""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Iterator

_LONGEST = 20_000  # characters of a question that are read
_FURTHEST = 400  # characters of one call, and of one result
_CALL = re.compile(r"(?<![\w.>])[A-Za-z_]\w{0,60}\(")
_GIVES = re.compile(r"\s{0,3}(?:==|->|=>|→|➞)\s{0,3}")
_ENDS = re.compile(r"[;\n`,.]|\s|$")


def examples(text: str) -> tuple[str, ...]:
    """The examples in a text as assertions, in order, repeats once; arguments and results are literals."""
    read = text[:_LONGEST]
    return tuple(dict.fromkeys((*_inline(read), *_sessions(read))))


def _inline(text: str) -> Iterator[str]:
    for match in _CALL.finditer(text):
        call = _call(text[match.start() : match.start() + _FURTHEST])
        gives = _GIVES.match(text, match.start() + len(call)) if call else None
        if gives is None:
            continue
        result = _result(text[gives.end() : gives.end() + _FURTHEST])
        if result is not None:
            yield f"assert {call} == {result}"


def _sessions(text: str) -> Iterator[str]:
    """Interpreter sessions, as docstrings hold them."""
    try:
        found = doctest.DocTestParser().get_examples(text)
    except ValueError:
        return  # a session that is written badly tells nothing
    for each in found:
        # Behind the last result of a docstring stand its closing quotes.
        call, result = each.source.strip(), each.want.strip().partition("\n")[0]
        if _plain_call(call) and _literal(result):
            yield f"assert {call} == {result}"


def _call(text: str) -> str:
    """The shortest beginning of `text` that is a plain call; empty where there is none."""
    place = text.find(")")
    while place >= 0 and not _plain_call(text[: place + 1]):
        place = text.find(")", place + 1)
    return text[: place + 1]


def _result(text: str) -> str | None:
    """The longest beginning of `text` that is a literal and ends where a word or clause does."""
    ends = [match.start() for match in _ENDS.finditer(text)]
    candidates = (text[:end].strip().rstrip(".") for end in reversed(ends))
    return next((each for each in candidates if _literal(each)), None)


def _plain_call(source: str) -> bool:
    """Whether this is one call of a name with literals."""
    node = _expression(source)
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and all(_is_literal(each) for each in (*node.args, *(keyword.value for keyword in node.keywords)))
    )


def _literal(source: str) -> bool:
    node = _expression(source)
    return node is not None and _is_literal(node)


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return False
    return True


def _expression(source: str) -> ast.expr | None:
    try:
        return ast.parse(source, mode="eval").body if source else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
