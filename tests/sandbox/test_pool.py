"""Workers and verdicts: each worker serves once, what fails is told, limits are checked, closing ends all."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from archon.errors import ConfigError
from archon.sandbox import Backend, CodeSandbox, Limits, SandboxError, backends, probe
from archon.sandbox.backends import python_files
from archon.sandbox.names import exposed
from archon.sandbox.pool import Pool
from archon.sandbox.probe import GUARANTEES, strongest
from archon.sandbox.process import Worker
from tests.sandbox.conftest import LIMITS


class Unstartable(Backend):
    def command(self, limits: Limits, slot: int) -> list[str]:
        return ["/bin/sh", "-c", "echo 'no namespaces here' >&2; exit 1"]


class Missing(Backend):
    def command(self, limits: Limits, slot: int) -> list[str]:
        return ["/nowhere/bwrap"]


SEEN = """
import builtins, math, random
def f():
    before = hasattr(builtins, 'seen') or hasattr(math, 'seen') or random.random()
    builtins.seen = math.seen = True
    return before"""


def test_no_job_finds_a_trace_of_another(backend: Backend) -> None:
    pool = Pool(backend, LIMITS)
    pids, told = set(), set()
    for _ in range(3):
        with pool.worker() as worker:
            pids.add(worker.pid)
            report = worker.examine(SEEN, ["assert f() is True", "import os; assert False, os.getpid()"], ["f"])
            told.add(report.results[1][1])
            assert not report.results[0][0]
    pool.close()
    assert len(pids) == 1
    assert len(told) == 3


def test_jobs_repeat_also_where_they_are_random(backend: Backend) -> None:
    program = "import random\ndef f(): return [random.random(), list({'a', 'b', 'c'})]"
    seen = set()
    for _ in range(2):
        worker = Worker(backend, LIMITS, 0)
        seen |= {worker.examine(program, ["assert False, f()"], ["f"]).results[0][1] for _ in range(2)}
        worker.kill()
    assert len(seen) == 1


def test_a_worker_left_in_disorder_is_replaced(backend: Backend) -> None:
    pool = Pool(backend, Limits(wall_seconds=1.0))
    pids = []
    for program in ("def f(): return 1", "import re\ndef f(): re.match('(a*)*b', 'a' * 40)", "def f(): return 1"):
        with pool.worker() as worker:
            worker.examine(program, ["assert f() == 1"], ["f"])
            pids.append(worker.pid)
    pool.close()
    assert pids[0] == pids[1] != pids[2]


def test_a_worker_that_died_while_idle_is_replaced(sandbox: CodeSandbox) -> None:
    for _ in range(3):
        assert sandbox.examine("def f(): return 1", ["assert f() == 1"]).results == [(True, "")]
        assert sandbox._pool is not None
        (idle,) = sandbox._pool._idle
        os.killpg(idle.pid, 9)
        idle._process.wait(10)


def test_a_worker_that_dies_at_the_hand_over_is_replaced(sandbox: CodeSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    given, victims = Worker._given, iter([True, False])

    def dying(worker: Worker) -> socket.socket:
        ours = given(worker)
        if next(victims):
            os.killpg(worker.pid, 9)
            worker._process.wait(10)
        return ours

    monkeypatch.setattr(Worker, "_given", dying)
    assert sandbox.examine("def f(): return 1", ["assert f() == 1"]).results == [(True, "")]
    assert next(victims, "both were asked") == "both were asked"


LINGERING = [
    "import os\nfor fd in range(64):\n    try: os.write(fd, b'r')\n    except OSError: pass",
    "import os\nfor fd in range(3, 64):\n    try: os.close(fd)\n    except OSError: pass",
    "import sys\nf = sys._getframe()\nwhile f.f_back: f = f.f_back\nraise SystemExit",
    "import os\nos._exit(0)",
]


@pytest.mark.parametrize("test", LINGERING)
async def test_a_test_cannot_reach_the_next_job(test: str, sandbox: CodeSandbox) -> None:
    """A model-written test that meddles with all it holds fails itself at most."""
    for number in range(2):
        assert not await sandbox.check("", f"{test}\nassert False, {number}")
        assert await sandbox.check(f"def f(): return {number}", f"assert f() == {number}")


@pytest.mark.parametrize(("broken", "said"), [(Unstartable, "no namespaces here"), (Missing, "could not be started")])
async def test_a_sandbox_that_does_not_start_is_told_and_is_no_verdict(broken: Any, said: str) -> None:
    with CodeSandbox(backend=broken("bubblewrap")) as sandbox, pytest.raises(SandboxError, match=said):
        await sandbox.check("def f(): return 1", "assert f() == 1")


def test_the_strongest_that_holds_is_chosen_and_else_every_reason_told() -> None:
    working = [backend for backend in backends() if probe(backend).safe]
    if working:
        assert strongest(among=[Unstartable("bubblewrap"), *working]) == working[0]
    with pytest.raises(ConfigError, match=r"bubblewrap: .*no namespaces here.*--unsafe-exec"):
        strongest(among=[Unstartable("bubblewrap")])


def test_the_probe_finds_what_does_not_hold() -> None:
    found = probe(Backend("unsafe"))
    assert not found.holds["no files but Python's"]
    assert not found.safe
    assert set(found.holds) == set(GUARANTEES)


async def test_a_closed_sandbox_says_so() -> None:
    sandbox = CodeSandbox()
    sandbox.close()
    sandbox.close()
    with pytest.raises(ConfigError, match="closed"):
        await sandbox.check("", "pass")


async def test_many_runs_at_once(backend: Backend) -> None:
    with CodeSandbox(backend=backend, workers=3) as sandbox:
        tests = [(f"def f(x): return x + {n}", f"assert f(1) == {n + 1 + n % 2}") for n in range(8)]
        verdicts = await asyncio.gather(*(sandbox.check(*each) for each in tests))
    assert verdicts == [n % 2 == 0 for n in range(8)]


@pytest.mark.parametrize("field", ["memory_mb", "cpu_seconds", "test_seconds", "wall_seconds", "threads", "files"])
def test_a_limit_must_be_positive(field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        Limits(**{field: 0})


def test_a_large_job_and_many_tests_fit(backend: Backend) -> None:
    worker = Worker(backend, LIMITS, 0)
    program = "def f(x): return x\n" + "#" * 300_000
    report = worker.examine(program, [f"assert f({n}) == {n}" for n in range(500)], ["f"])
    worker.kill()
    assert report.results == [(True, "")] * 500


@pytest.mark.parametrize(
    ("program", "names"),
    [
        ("def f(): pass\nasync def g(): pass\nclass H: pass\ni = j = 1\nk: int = 2", ("f", "g", "H", "i", "j")),
        ("def len(x): return 0\nprint = 3\ndef f(): pass", ("f",)),
        ("if True:\n    def f(): pass", ()),
        ("def f(", ()),
        ("f = '\\d'", ("f",)),
    ],
)
def test_names_that_tests_may_call(program: str, names: tuple[str, ...]) -> None:
    assert exposed(program) == names


def test_pythons_own_files_are_found() -> None:
    assert (Path(python_files()[0]) / "os.py").is_file()
