"""Unit-test generator: tests enter the state; nothing else changes."""

from dataclasses import replace
from typing import Any

import pytest

from archon.errors import NodeError
from archon.protocols import Plan, RoleOutput, Tests
from archon.types import UnitTest
from layers.unit_test_generator import UnitTestGenerator
from tests.layers.fakes import FAILURE, FakeContext, run, state


def test_tests_enter_the_state_and_the_conversation_stays_as_it_is() -> None:
    given = state("a")
    ctx = FakeContext({"write_tests": "TESTS:\n1. It is 5.\n2. It is odd."})
    made = run(UnitTestGenerator(model="m"), given, ctx)
    assert made == replace(given, tests=(UnitTest("It is 5."), UnitTest("It is odd.")))
    assert "at most 10 tests" in ctx.draws[0].messages[-1].text


def test_the_answers_are_not_shown() -> None:
    ctx = FakeContext({"write_tests": "TESTS:\n1. t"})
    run(UnitTestGenerator(model="m"), state("a very peculiar answer"), ctx)
    assert "peculiar" not in ctx.draws[0].messages[-1].text


def test_earlier_tests_stay_and_repeats_count_once() -> None:
    given = replace(state(), tests=(UnitTest("old"), UnitTest("t")))
    made = run(UnitTestGenerator(model="m"), given, FakeContext({"write_tests": "1. t\n2. new"}))
    assert [test.text for test in made.tests] == ["old", "t", "new"]


def test_cap_bounds_the_tests_also_of_a_pack_that_gives_more() -> None:
    class Generous(FakeContext):
        async def ask(self, *args: Any, **options: Any) -> RoleOutput:
            return Tests((UnitTest("1"), UnitTest("2"), UnitTest("3")))

    ctx = Generous()
    assert len(run(UnitTestGenerator(model="m", cap=2), state(), ctx).tests) == 2
    assert ctx.kinds() == {"dropped"}


def test_unparseable_tests_add_none_and_say_so() -> None:
    ctx = FakeContext({"*": "I would rather not."})
    assert run(UnitTestGenerator(model="m"), state("a"), ctx) == state("a")
    assert "fallback" in ctx.kinds()


def test_failed_call_fails_the_node() -> None:
    with pytest.raises(NodeError):
        run(UnitTestGenerator(model="m"), state("a"), FakeContext({"write_tests": FAILURE}))


ASSERTIONS = """Worked out:
```python
import math

def test_small():
    assert f(1) == 2
    assert f(2) == math.floor(4.5)

assert f(1) == 2
assert f([]) is None
```"""


def test_executable_tests_are_assertions_each_by_itself() -> None:
    ctx = FakeContext({"write_tests": ASSERTIONS})
    made = run(UnitTestGenerator(model="m", kind="executable"), state("a"), ctx)
    assert made.tests == tuple(
        UnitTest(f"import math\n{line}", code=True)
        for line in ("assert f(1) == 2", "assert f(2) == math.floor(4.5)", "assert f([]) is None")
    )
    asked = ctx.draws[0].messages[-1].text
    assert "assert name(2, 3) == 5" in asked
    assert "TESTS:" not in asked


def test_executable_tests_that_are_no_python_are_repaired_once_and_else_none() -> None:
    ctx = FakeContext(
        {"write_tests": "f of one is two", "repair": "assert f(1) == 2\nassert f(2 == 3\n- assert f(3) == 4"}
    )
    made = run(UnitTestGenerator(model="m", kind="executable"), state("a"), ctx)
    assert [test.text for test in made.tests] == ["assert f(1) == 2", "assert f(3) == 4"]
    ctx = FakeContext({"*": "f of one is two"})
    assert run(UnitTestGenerator(model="m", kind="executable"), state("a"), ctx).tests == ()
    assert "fallback" in ctx.kinds()


def test_plan() -> None:
    assert UnitTestGenerator(model="m").plan(3) == Plan(calls=1, candidates=3, contingent=1)
