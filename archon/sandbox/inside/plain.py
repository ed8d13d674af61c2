"""Plain data as JSON text and back, so that nothing but values crosses between program and tests.

Whatever the sender does, the receiver builds only objects of Python's own types: no class of the sender's, hence no
`__eq__`, `__hash__` or `__len__` of the sender's. Subclasses of plain types travel as the plain type. An iterator
travels as its items and arrives as an iterator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

MOST_ITEMS = 100_000
"""Items that are taken from an iterator, at most."""
_EXACT = 2**53


class NotPlainError(TypeError):
    """A value that is not plain data."""


def wire(value: Any) -> Any:
    """The value as JSON can hold it. Raises NotPlainError, RecursionError."""
    if value is None or isinstance(value, bool | float):
        return value if value is None or isinstance(value, bool) else float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        number = int(value)
        return number if -_EXACT < number < _EXACT else {"int": hex(number)}
    if isinstance(value, list):
        return [wire(item) for item in value]
    return _tagged(value)


def _tagged(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {"dict": [[wire(key), wire(item)] for key, item in value.items()]}
    for kind, tag in ((tuple, "tuple"), (frozenset, "frozenset"), (set, "set")):
        if isinstance(value, kind):
            return {tag: [wire(item) for item in value]}
    if isinstance(value, bytes | bytearray):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, range):
        return {"range": [wire(part) for part in (value.start, value.stop, value.step)]}
    if type(value).__name__ in ("Decimal", "Fraction"):
        return {type(value).__name__: str(value)}
    if isinstance(value, Iterator) or type(value).__name__ in ("dict_keys", "dict_values", "dict_items"):
        return {"iterator": [wire(item) for item in islice(value, MOST_ITEMS)]}
    raise NotPlainError(f"a {type(value).__name__} is not plain data")


def value_of(wired: Any) -> Any:
    """The value that `wire` made. Raises ValueError for what it cannot have made."""
    if isinstance(wired, list):
        return [value_of(item) for item in wired]
    if not isinstance(wired, dict):
        return wired
    try:
        ((tag, content),) = wired.items()
        return _BUILDERS[tag](content)
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"not plain data: {type(error).__name__}") from None


def _items(content: Any) -> list[Any]:
    return [value_of(item) for item in content]


def _decimal(content: Any) -> Any:
    from decimal import Decimal  # here, because a worker's start must be quick

    return Decimal(content)


def _fraction(content: Any) -> Any:
    from fractions import Fraction

    return Fraction(content)


_BUILDERS: dict[str, Callable[[Any], Any]] = {
    "int": lambda content: int(content, 16),
    "dict": lambda content: {value_of(key): value_of(item) for key, item in content},
    "tuple": lambda content: tuple(_items(content)),
    "set": lambda content: set(_items(content)),
    "frozenset": lambda content: frozenset(_items(content)),
    "bytes": bytes.fromhex,
    "complex": lambda content: complex(*content),
    "range": lambda content: range(*_items(content)),
    "Decimal": _decimal,
    "Fraction": _fraction,
    "iterator": lambda content: iter(_items(content)),
}
