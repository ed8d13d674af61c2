"""Plain data: what goes in comes out, of Python's own types alone; what is no plain data is refused on either side."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, namedtuple
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.sandbox.inside.plain import MOST_ITEMS, NotPlainError, value_of, wire

KEYS = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.fractions()
LEAVES = KEYS | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False) | st.decimals(allow_nan=False)
VALUES = st.recursive(
    LEAVES | st.sets(KEYS) | st.frozensets(KEYS),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.lists(inner).map(tuple),
    max_leaves=20,
)


def through(value: Any) -> Any:
    return value_of(json.loads(json.dumps(wire(value))))


@given(VALUES)
def test_a_value_comes_through_whole(value: Any) -> None:
    found = through(value)
    assert found == value
    assert repr(type(found)) == repr(type(value))


class Liar(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


def test_a_subclass_comes_through_as_the_plain_type() -> None:
    pair = namedtuple("pair", "a b")
    for value, kind in ((Liar(3), int), (Counter("aab"), dict), (OrderedDict(a=1), dict), (pair(1, 2), tuple)):
        assert type(through(value)) is kind
    assert through(Liar(3)) != 4
    assert type(through([Liar(3)])[0]) is int


def test_an_iterator_comes_through_as_an_iterator_of_bounded_length() -> None:
    assert list(through(n * n for n in range(4))) == [0, 1, 4, 9]
    assert list(through({"a": 1}.keys())) == ["a"]

    def endless() -> Any:
        while True:
            yield 0

    assert len(list(through(endless()))) == MOST_ITEMS


@pytest.mark.parametrize("value", [object(), len, Liar, lambda: 0, [object()], {"a": object()}, type("E", (), {})()])
def test_what_is_no_plain_data_is_refused(value: Any) -> None:
    with pytest.raises(NotPlainError):
        wire(value)


@pytest.mark.parametrize(
    "wired",
    [
        {},
        {"a": 1, "b": 2},
        {"exec": "1"},
        {"int": "zz"},
        {"int": 3},
        {"set": [[1]]},
        {"dict": [[1]]},
        {"dict": 3},
        {"bytes": "zz"},
        {"range": [1, 2, 0]},
        {"complex": ["a", "b"]},
        {"Decimal": "x"},
        {"Fraction": "1/0"},
        [{"tuple": None}],
    ],
)
def test_what_no_value_was_made_into_is_refused(wired: Any) -> None:
    with pytest.raises(ValueError):
        value_of(wired)


def test_numbers_keep_their_type() -> None:
    for value in (True, 1, 1.0, Decimal(1), Fraction(1)):
        assert type(through(value)) is type(value)
