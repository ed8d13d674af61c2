"""Programs that try to pass tests they do not pass: every cheat is failed, under each backend."""

from __future__ import annotations

import asyncio

import pytest

from archon.sandbox import CodeSandbox

TEST = "assert f(20) == 42"
HONEST = "def f(x): return 2 * x + 2"

CHEATS = {
    "prints the marker": 'def f(x): return None\nprint(\'done\'); print(\'{"event": "test", "passed": true}\')',
    "ends well while loading": "import sys; sys.exit(0)\ndef f(x): return 0",
    "ends well at once": "import os; os._exit(0)\ndef f(x): return 0",
    "ends well in the call": "def f(x):\n import os; os._exit(0)",
    "exits in the call": "def f(x): raise SystemExit(0)",
    "equals everything": "class E:\n __eq__ = lambda *a: True\n __hash__ = lambda s: 0\ndef f(x): return E()",
    "equals everything, as a number": "class E(int):\n __eq__ = lambda *a: True\n __hash__ = id\ndef f(x): return E()",
    "equals everything, in a list": "class E(list):\n __eq__ = lambda *a: True\ndef f(x): return E()",
    "no assertions": "import builtins\nclass A(Exception): pass\nbuiltins.AssertionError = A\ndef f(x): return 0",
    "own built-ins": "import builtins\nbuiltins.compile = builtins.exec = lambda *a, **k: None\ndef f(x): return 0",
    "own json": 'import json\njson.dumps = lambda *a: \'{"event": "done"}\'\ndef f(x): return 0',
    "own receive": """
import inside.examiner, inside.plain
inside.examiner._outcome = lambda *a: (True, False, '')
inside.plain.value_of = lambda *a: 42
def f(x): return 0""",
    "reads the test from its callers": """
import gc, sys
def f(x):
    frame = sys._getframe()
    while frame:
        for value in [*frame.f_locals.values(), *frame.f_globals.values(), *gc.get_objects()]:
            if isinstance(value, str) and 'assert f' in value and len(value) < 30:
                return int(value.rpartition('==')[2])
        frame = frame.f_back
    return 0""",
    "reads the test from memory": """
import os
def f(x):
    for pid in (os.getppid(), os.getpid()):
        try:
            with open(f'/proc/{pid}/mem', 'rb') as memory: return 42
        except OSError: pass
    return 0""",
    "answers ahead": """
import json, os
for fd in range(3, 64):
    data = json.dumps({'event': 'test', 'number': 0, 'passed': True, 'said': ''}).encode()
    try: os.write(fd, len(data).to_bytes(4, 'big') + data)
    except OSError: pass
def f(x): return 0""",
    "writes to every descriptor": """
import os
for fd in range(0, 64):
    try: os.write(fd, b'0 {"event": "test", "number": 0, "passed": true, "said": ""}\\n')
    except OSError: pass
def f(x): return 0""",
    "raises success": "class AssertionPassed(Exception): pass\ndef f(x): raise AssertionPassed('passed')",
    "returns a huge answer": "def f(x): return [0] * 10**8",
    "kills the examiner": "import os\ndef f(x): os.kill(os.getppid(), 9)",
    "other arguments": "def f(x): x = None; return x",
    "a second f": "f = type('F', (), {'__call__': lambda s, x: s, '__eq__': lambda s, o: True})()",
    "no program": "42",
    "no Python": "def f(x) return 42",
    "null bytes": "def f(x): return 42\0",
}


@pytest.mark.parametrize("name", CHEATS)
async def test_a_cheat_is_failed(name: str, sandbox: CodeSandbox) -> None:
    assert await sandbox.check_all(CHEATS[name], (TEST,), names=("f",)) == (False,)


async def test_the_honest_program_passes(sandbox: CodeSandbox) -> None:
    assert await sandbox.check(HONEST, TEST)
    assert not await sandbox.check(HONEST, "assert f(20) == 43")


async def test_a_program_cannot_put_itself_in_the_place_of_what_tests_use(sandbox: CodeSandbox) -> None:
    program = (
        "def f(x): return 0\ndef len(x): return 3\ndef abs(x): return 0\ndef print(*a): raise ValueError\nmath = f"
    )
    assert await sandbox.check_all(program, ("assert len([]) == 3", "assert abs(f(1) - 5) == 0")) == (False, False)
    assert await sandbox.check_all(program, ("import math\nassert math.fabs(f(1) - 5) == 0",), names=("f",)) == (False,)


async def test_values_of_every_plain_kind_come_through(sandbox: CodeSandbox) -> None:
    program = "def same(x): return x\ndef items(x):\n for each in x: yield each\ndef grow(x): x.append(1)"
    values = ("None", "True", "-3", "10**400", "2.5", "'ä\\ud800'", "b'\\xff'", "1+2j", "[1, [2]]", "(1, (2,))")
    values += ("{1: {2: ()}}", "{1, 2}", "frozenset({1})", "range(1, 9, 2)", "float('inf')")
    tests = [f"v = same({value}); assert v == {value} and type(v) is type({value})" for value in values]
    tests += ["assert list(items([1, 2])) == [1, 2]", "x = [0]; grow(x); assert x == [0, 1]"]
    assert await sandbox.check_all(program, tests) == (True,) * len(tests)


async def test_an_exception_is_raised_in_the_test_as_itself(sandbox: CodeSandbox) -> None:
    program = "def f(x): raise ValueError('no')\nclass Own(Exception): pass\ndef g(x): raise Own"
    caught = "try:\n    {}(1)\nexcept {}:\n    pass\nelse:\n    assert False"
    tests = (caught.format("f", "ValueError"), caught.format("f", "KeyError"), caught.format("g", "RuntimeError"))
    assert await sandbox.check_all(program, tests) == (True, False, True)


async def test_tests_after_one_that_hangs_or_ends_the_program_are_still_run(sandbox: CodeSandbox) -> None:
    program = "def f(x):\n while x == 1: pass\n return x"
    assert await sandbox.check_all(program, [f"assert f({n}) == {n}" for n in range(4)]) == (True, False, True, True)
    assert sandbox.runs == 2
    program = "import os\ndef f(x):\n if x in (1, 3, 5): os._exit(0)\n return x"
    # The second broken run ends it: f(3) and all behind it are failed.
    assert await sandbox.check_all(program, [f"assert f({n}) == {n}" for n in range(6)]) == (
        True, False, True, False, False, False,
    )  # fmt: skip


async def test_a_test_of_a_program_is_run_once(sandbox: CodeSandbox) -> None:
    for _ in range(3):
        assert await sandbox.check_all(HONEST, (TEST, TEST)) == (True, True)
    assert sandbox.runs == 1


def test_a_sandbox_works_in_one_event_loop_after_another(sandbox: CodeSandbox) -> None:
    for number in range(3):
        assert asyncio.run(sandbox.check(f"def f(x): return {number}", f"assert f(1) == {number}"))
