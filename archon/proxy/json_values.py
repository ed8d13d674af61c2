"""JSON values as JSON Schema knows them: a number is what it is worth, and equal values have equal texts."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

_LARGEST = 10**308


def loads(text: str) -> Any:
    """The value of a JSON text; 1.0 is the integer 1. Raises ValueError where it is none, RecursionError.

    NaN, the infinities and numbers beyond 1e308 are none: no two programs read them alike.
    """
    return json.loads(text, parse_float=_number, parse_int=_integer, parse_constant=_constant)


def canonical(value: object) -> str:
    """A text that two values read by `loads` share exactly when they are equal."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def is_multiple(value: float, of: float) -> bool:
    """Whether one number is a multiple of another, as they are written: 0.3 is one of 0.1."""
    return (Fraction(repr(value)) / Fraction(repr(of))).denominator == 1


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number) or abs(number) > _LARGEST:
        raise ValueError("a number is too large")
    return int(number) if number.is_integer() else number


def _integer(text: str) -> int:
    if len(text) > 310 or abs(number := int(text)) > _LARGEST:
        raise ValueError("a number is too large")
    return number


def _constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")
