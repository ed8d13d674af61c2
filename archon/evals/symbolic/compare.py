r"""Whether two answers are equal as mathematics.

Formulas are compared by their difference: first as sympy writes it, then by its value, to 30 digits, at fixed rational
points. Two different formulas of the size of an answer do not agree at four such points, and one that cannot be
evaluated there is simplified instead. Equations are equal where one is a constant multiple of the other.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, Literal

import sympy

from archon.evals.symbolic.answers import Answer, read
from archon.evals.symbolic.tokens import UnreadableError

Engine = Literal["sympy", "math-verify"]

_DIGITS = 30
_TOLERANCE = sympy.Rational(1, 10**20)  # ten digits of room for cancellation in a 30-digit evaluation
_POINTS = tuple(
    tuple(sympy.Rational(p, q) for p, q in point)
    for point in (
        ((17, 13), (29, 23), (37, 31), (43, 41), (53, 47), (61, 59)),
        ((13, 17), (23, 29), (31, 37), (41, 43), (47, 53), (59, 61)),
        ((19, 7), (31, 11), (41, 17), (47, 19), (59, 29), (67, 31)),
        ((71, 73), (79, 83), (89, 97), (101, 103), (107, 109), (113, 127)),
    )
)


def equal(reference: str, answer: str, engine: Engine = "sympy") -> bool:
    """Whether `answer` equals `reference`, both normalised LaTeX.

    Raises:
        UnreadableError: one of them is not mathematics of a known form.
    """
    if engine == "math-verify":
        return _by_math_verify(reference, answer)
    return _same(read(reference), read(answer))


def _by_math_verify(reference: str, answer: str) -> bool:
    from math_verify import parse, verify

    gold, target = (parse(f"${text}$", parsing_timeout=None) for text in (reference, answer))
    if not gold or not target:
        raise UnreadableError("math-verify reads no answer")
    return bool(verify(gold, target, timeout_seconds=None))


def _same(first: Answer, second: Answer) -> bool:
    if first[0] != second[0]:
        return False
    if first[0] == "value":
        return bool(first[1] == second[1]) or _zero(first[1] - second[1], first[1])
    if first[0] == "list":
        return _same_unordered(first[1], second[1])
    if first[0] == "ordered":
        return first[1:3] == second[1:3] and _all_same(first[3], second[3])
    if first[0] == "relation":
        return first[1] == second[1] and _same_relation(first[1], first[2] - first[3], second[2] - second[3])
    return _same_matrix(first[1], second[1])


def _all_same(first: list[Answer], second: list[Answer]) -> bool:
    return len(first) == len(second) and all(_same(a, b) for a, b in zip(first, second, strict=True))


def _same_unordered(first: list[Answer], second: list[Answer]) -> bool:
    left = list(second)
    for item in first:
        match = next((other for other in left if _same(item, other)), None)
        if match is None:
            return False
        left.remove(match)
    return not left


def _same_matrix(first: list[list[Any]], second: list[list[Any]]) -> bool:
    if [len(row) for row in first] != [len(row) for row in second]:
        return False
    pairs = zip(chain.from_iterable(first), chain.from_iterable(second), strict=True)
    return all(_zero(a - b, a) for a, b in pairs)


def _same_relation(operator: str, first: Any, second: Any) -> bool:
    """Both `left - right`; an inequality may be scaled by a positive factor only."""
    if _zero(first, second) or _zero(second, first):
        return _zero(first, second) and _zero(second, first)
    ratio = sympy.cancel(first / second)
    return bool(ratio.is_number and (operator in ("=", r"\ne") or ratio.is_positive))


def _zero(difference: Any, scale: Any) -> bool:
    """Whether `difference` is 0; `scale` says how large rounding may be."""
    if difference.is_Rational:
        return bool(difference == 0)
    if difference.is_number and not difference.is_finite:
        return False
    symbols = sorted(difference.free_symbols | scale.free_symbols, key=str)
    points = _POINTS if symbols else _POINTS[:1]
    verdicts = [
        _zero_at(difference, scale, dict(zip(symbols, _repeated(point, len(symbols)), strict=False)))
        for point in points
    ]
    known = [verdict for verdict in verdicts if verdict is not None]
    return all(known) if known else bool(sympy.simplify(difference) == 0)


def _repeated(point: tuple[Any, ...], count: int) -> list[Any]:
    """As many coordinates as there are symbols, all different."""
    return [value + turn for turn in range(count // len(point) + 1) for value in point][:count]


def _zero_at(difference: Any, scale: Any, point: dict[Any, Any]) -> bool | None:
    """None where the formula has no finite value there."""
    value, size = (sympy.N(formula.subs(point), _DIGITS) for formula in (difference, scale))
    if not (value.is_number and value.is_finite):
        return None
    bound = _TOLERANCE * (1 + abs(size)) if size.is_finite else _TOLERANCE
    return bool(abs(value) < bound)
