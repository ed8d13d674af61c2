r"""Reads a whole answer: a formula, or formulas in a list, set, tuple, interval, union, matrix, equation, inequality.

The result is a small tree of tuples with sympy expressions at its leaves:

    ("value", expr)   ("list", items)   ("ordered", "(", ")", items)   ("matrix", rows)   ("relation", op, left, right)

A bare list `1,2`, a set `\{1,2\}`, a union and `a \pm b` are lists: their order has no meaning. Tuples and intervals
keep order and brackets.
"""

from __future__ import annotations

from typing import Any

from archon.evals.symbolic.expressions import total
from archon.evals.symbolic.tokens import Tokens, UnreadableError

Answer = tuple[Any, ...]

MOST_ITEMS = 50
_RELATIONS = ("=", "<", ">", r"\le", r"\ge", r"\ne")
_FLIPPED = {">": "<", r"\ge": r"\le"}


def read(latex: str) -> Answer:
    """The tree of an answer. Raises UnreadableError where it is not mathematics of a known form."""
    tokens = Tokens.of(latex)
    answer = _list(tokens)
    if tokens.peek():
        raise UnreadableError(f"{tokens.peek()!r} is left over")
    return answer


def _list(tokens: Tokens) -> Answer:
    items = _items(tokens)
    return items[0] if len(items) == 1 else ("list", items)


def _items(tokens: Tokens) -> list[Answer]:
    """What commas or unions separate; `a \\pm b` is two."""
    items = _one(tokens)
    while tokens.skip(",", ";", r"\cup"):
        items += _one(tokens)
        if len(items) > MOST_ITEMS:
            raise UnreadableError(f"more than {MOST_ITEMS} items")
    return items


def _one(tokens: Tokens) -> list[Answer]:
    if tokens.peek() == r"\{":
        return [_set(tokens)]
    if tokens.peek() == r"\beginmatrix":
        return [_matrix(tokens)]
    if tokens.peek() in ("(", "["):
        start = tokens.at
        bracketed = _bracketed(tokens)
        if bracketed:
            return [bracketed]
        tokens.at = start
    return _relation(tokens)


def _set(tokens: Tokens) -> Answer:
    tokens.expect(r"\{")
    if tokens.skip(r"\}"):
        return ("list", [])
    items = _items(tokens)
    tokens.expect(r"\}")
    return ("list", items)


def _bracketed(tokens: Tokens) -> Answer | None:
    """A tuple or an interval; None where the brackets only group."""
    opening = tokens.take()
    try:
        items = _items(tokens)
    except UnreadableError:
        return None
    closing = tokens.take() if tokens.peek() in (")", "]") else ""
    return ("ordered", opening, closing, items) if len(items) > 1 and closing else None


def _matrix(tokens: Tokens) -> Answer:
    tokens.expect(r"\beginmatrix")
    rows: list[list[Any]] = [[total(tokens)]]
    while not tokens.skip(r"\endmatrix"):
        if tokens.skip(r"\\"):
            if tokens.skip(r"\endmatrix"):
                break
            rows.append([])
        else:
            tokens.expect("&")
        rows[-1].append(total(tokens))
    return ("matrix", rows)


def _relation(tokens: Tokens) -> list[Answer]:
    sides, operators = [total(tokens)], []
    if tokens.peek() in (r"\pm", r"\mp"):
        tokens.take()
        other = total(tokens)
        return [("value", sides[0] + other), ("value", sides[0] - other)]
    while tokens.peek() in _RELATIONS:
        operators.append(tokens.take())
        sides.append(total(tokens))
    if not operators:
        return [("value", sides[0])]
    chain = [_ordered(op, sides[i], sides[i + 1]) for i, op in enumerate(operators)]
    return [chain[0] if len(chain) == 1 else ("list", chain)]


def _ordered(operator: str, left: Any, right: Any) -> Answer:
    """`a > b` as `b < a`, so that both spellings are one."""
    flipped = _FLIPPED.get(operator)
    return ("relation", flipped, right, left) if flipped else ("relation", operator, left, right)
