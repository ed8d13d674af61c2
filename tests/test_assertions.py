"""Assertions in a model's text: which count, and that hostile text costs nothing."""

from __future__ import annotations

import pytest

from archon.assertions import assertions
from archon.errors import UnparseableError


@pytest.mark.parametrize(
    ("text", "tests"),
    [
        ("assert f(1) == 2", ["assert f(1) == 2"]),
        ("1. Think.\n```python\nassert f( 1 )==2\nassert f(1) == 2\n```", ["assert f(1) == 2"]),
        ("```\nassert f(1) == 2\nassert f(2 == 3\nassert f(3) == 4\n```", ["assert f(1) == 2", "assert f(3) == 4"]),
        ("- `assert f(1) == 2`\n- `assert f(2) == 3`", ["assert f(1) == 2", "assert f(2) == 3"]),
        ("def test_f():\n    '''Small.'''\n    assert f(1) == 2", ["assert f(1) == 2"]),
        ("def test_f():\n    x = 1\n    assert f(x) == 2\nassert f(2) == 3", ["assert f(2) == 3"]),
        ("import math\nassert f(1) == math.pi", ["import math\nassert f(1) == math.pi"]),
    ],
)
def test_assertions_that_can_stand_alone_are_tests(text: str, tests: list[str]) -> None:
    found = assertions(text, None).tests
    assert [test.text for test in found] == tests
    assert all(test.code for test in found)


def test_at_most_so_many_are_taken() -> None:
    assert len(assertions("\n".join(f"assert f({n}) == {n}" for n in range(9)), 4).tests) == 4


@pytest.mark.parametrize("text", ["", "f(1) is 2", "assert", "x = 1", "(" * 10_000, "assert " + "(" * 5_000, "\0"])
def test_a_text_without_one_is_unparseable(text: str) -> None:
    with pytest.raises(UnparseableError):
        assertions(text, None)
