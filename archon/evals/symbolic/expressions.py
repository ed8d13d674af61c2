r"""Reads one formula of normalised LaTeX into a sympy expression, by recursive descent; nothing is evaluated as code.

Knows numbers, letters (with index), \pi, e, i, + - \cdot / ^ !, \frac, \binom, \sqrt[n]{}, |x|, floors and ceilings,
and the elementary functions. Powers and factorials too large to write out are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sympy

from archon.evals.symbolic.tokens import Tokens, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

Expr = Any
"""A sympy expression; sympy ships no types."""

MOST_DEPTH = 40
MOST_BITS = 400_000
"""Of a power of fractions, written out."""
LARGEST = 5000
"""Argument of a factorial or binomial, and exponent over an irrational number."""

_ONE_ARGUMENT: dict[str, Callable[[Expr], Expr]] = {
    r"\sin": sympy.sin, r"\cos": sympy.cos, r"\tan": sympy.tan, r"\sec": sympy.sec, r"\csc": sympy.csc,
    r"\cot": sympy.cot, r"\arcsin": sympy.asin, r"\arccos": sympy.acos, r"\arctan": sympy.atan,
    r"\sinh": sympy.sinh, r"\cosh": sympy.cosh, r"\tanh": sympy.tanh, r"\ln": sympy.log, r"\exp": sympy.exp,
}  # fmt: skip
_CONSTANTS = {r"\pi": sympy.pi, r"\infty": sympy.oo, "e": sympy.E, "i": sympy.I}
_GREEK = frozenset(
    rf"\{name}"
    for name in ("alpha", "beta", "gamma", "delta", "epsilon", "theta", "lambda", "mu", "rho", "sigma", "phi", "omega")
)
_CLOSING = {"(": ")", "{": "}", "[": "]", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil"}
_STARTS = frozenset({"(", "{", "[", r"\lfloor", r"\lceil", r"\frac", r"\binom", r"\sqrt", r"\log"})


def total(tokens: Tokens) -> Expr:
    """A sum: terms joined by + and -."""
    with _deeper(tokens):
        value = _signed(tokens)
        while tokens.peek() in ("+", "-"):
            sign = -1 if tokens.take() == "-" else 1
            value = value + sign * _product(tokens)
        return value


@contextmanager
def _deeper(tokens: Tokens) -> Iterator[None]:
    tokens.depth += 1
    if tokens.depth > MOST_DEPTH:
        raise UnreadableError("nested too deep")
    yield
    tokens.depth -= 1


def _signed(tokens: Tokens) -> Expr:
    sign = 1
    while tokens.peek() in ("+", "-"):
        sign = -sign if tokens.take() == "-" else sign
    return sign * _product(tokens)


def _product(tokens: Tokens) -> Expr:
    """Factors joined by \\cdot, /, or nothing; a whole number before a fraction of numbers is a mixed number."""
    whole = tokens.peek().isdigit() and tokens.peek(1) == r"\frac"
    value = _power(tokens)
    if whole:
        part = _power(tokens)
        value = value + part if part.is_Rational and 0 < part < 1 else value * part
    while True:
        if tokens.skip(r"\cdot"):
            value = value * _unsigned_or_signed(tokens)
        elif tokens.skip("/", r"\div"):
            value = _quotient(value, _unsigned_or_signed(tokens))
        elif _starts_factor(tokens):
            value = value * _power(tokens)
        else:
            return value


def _unsigned_or_signed(tokens: Tokens) -> Expr:
    return -_power(tokens) if tokens.skip("-") else _power(tokens)


def _starts_factor(tokens: Tokens) -> bool:
    token = tokens.peek()
    known = token in _STARTS or token in _ONE_ARGUMENT or token in _CONSTANTS or token in _GREEK
    return known or (len(token) == 1 and token.isalpha())


def _power(tokens: Tokens) -> Expr:
    base = _postfixed(tokens, _atom(tokens))
    if not tokens.skip("^"):
        return base
    return _postfixed(tokens, _raised(base, _script(tokens)))


def _postfixed(tokens: Tokens, value: Expr) -> Expr:
    while tokens.skip("!"):
        if not (value.is_Integer and 0 <= value <= LARGEST):
            raise UnreadableError("factorial of what is no small whole number")
        value = sympy.factorial(value)
    return value


def _raised(base: Expr, exponent: Expr) -> Expr:
    if base.is_number and exponent.is_number and _too_large(base, exponent):
        raise UnreadableError("a power too large to write out")
    if base.is_zero and exponent.is_number and not exponent.is_positive:
        raise UnreadableError("a division by zero")
    return base**exponent


def _too_large(base: Expr, exponent: Expr) -> bool:
    if not exponent.is_finite:
        return True
    if base.is_Rational and exponent.is_Rational:
        return bool(max(base.p.bit_length(), base.q.bit_length()) * abs(exponent) > MOST_BITS)
    return bool(abs(exponent) > LARGEST)


def _quotient(top: Expr, bottom: Expr) -> Expr:
    if bottom.is_zero:
        raise UnreadableError("a division by zero")
    return top / bottom


def _script(tokens: Tokens) -> Expr:
    """What a command or a script takes: a group in braces or one token (`^12` is read as people mean it)."""
    if tokens.peek() == "{":
        return _group(tokens)
    if tokens.skip("-"):
        return -_atom(tokens)
    return _atom(tokens)


def _group(tokens: Tokens) -> Expr:
    opening = tokens.take()
    if opening not in _CLOSING:
        raise UnreadableError(f"{opening!r} where a group should stand")
    value = total(tokens)
    tokens.expect(_CLOSING[opening])
    return value


def _atom(tokens: Tokens) -> Expr:
    token = tokens.peek()
    if token in ("(", "{", "["):
        return _group(tokens)
    if token in (r"\lfloor", r"\lceil"):
        rounded = sympy.floor if token == r"\lfloor" else sympy.ceiling
        return rounded(_group(tokens))
    tokens.take()
    if token == "|":
        value = total(tokens)
        tokens.expect("|")
        return sympy.Abs(value)
    if token[0].isdigit() or (token[0] == "." and len(token) > 1):
        return sympy.Rational(token)
    return _named(tokens, token)


def _named(tokens: Tokens, token: str) -> Expr:
    if token == r"\frac":
        return _quotient(_script(tokens), _script(tokens))
    if token == r"\binom":
        return sympy.binomial(*(_small(_group(tokens)) for _ in range(2)))
    if token == r"\sqrt":
        root = _group(tokens) if tokens.peek() == "[" else sympy.Integer(2)
        return _raised(_script(tokens), _quotient(sympy.Integer(1), root))
    if token == r"\log":
        base = _script(tokens) if tokens.skip("_") else sympy.Integer(10)
        return sympy.log(_argument(tokens), base)
    if token in _ONE_ARGUMENT:
        exponent = _script(tokens) if tokens.skip("^") else sympy.Integer(1)
        return _raised(_ONE_ARGUMENT[token](_argument(tokens)), exponent)
    if token in _CONSTANTS and tokens.peek() != "_":
        return _CONSTANTS[token]
    if token in _GREEK or (len(token) == 1 and token.isalpha()):
        return sympy.Symbol(token + (f"_{_script(tokens)}" if tokens.skip("_") else ""))
    raise UnreadableError(f"{token!r} is not known")


def _argument(tokens: Tokens) -> Expr:
    """A function's argument: a group, or the factors that follow (`\\sin 2x`)."""
    if tokens.peek() in ("(", "{", "["):
        return _group(tokens)
    value = _power(tokens)
    while (token := tokens.peek()) in _CONSTANTS or token in _GREEK or (len(token) == 1 and token.isalpha()):
        value = value * _power(tokens)
    return value


def _small(value: Expr) -> Expr:
    if value.is_number and not (value.is_Integer and abs(value) <= LARGEST):
        raise UnreadableError("a binomial of what are no small whole numbers")
    return value
