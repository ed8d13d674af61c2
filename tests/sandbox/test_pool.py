"""Workers and verdicts: each worker serves once, what fails is told, limits are checked, closing ends all."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from archon.errors import ConfigError
from archon.sandbox import Backend, CodeSandbox, Limits, SandboxError, backends, probe
from archon.sandbox.backends import python_files
from archon.sandbox.pool import Pool
from archon.sandbox.probe import GUARANTEES, strongest
from archon.sandbox.process import Worker
from archon.sandbox.verdicts import exposed
from tests.sandbox.conftest import LIMITS


class Unstartable(Backend):
    def command(self, limits: Limits, slot: int) -> list[str]:
        return ["/bin/sh", "-c", "echo 'no namespaces here' >&2; exit 1"]


class Missing(Backend):
    def command(self, limits: Limits, slot: int) -> list[str]:
        return ["/nowhere/bwrap"]


def test_each_job_gets_a_worker_that_served_none_before(backend: Backend) -> None:
    pool = Pool(backend, LIMITS, 1)
    program = (
        "import builtins\ndef f():\n    before = hasattr(builtins, 'seen')\n    builtins.seen = True\n    return before"
    )
    pids = set()
    for _ in range(3):
        worker = pool.take()
        assert worker.examine(program, ["assert f() is False"], ["f"]).results == [(True, "")]
        worker.kill()
        pids.add(worker.pid)
    pool.close()
    assert len(pids) == 3


def test_a_spare_that_died_is_not_handed_out(backend: Backend) -> None:
    pool = Pool(backend, LIMITS, 1)
    pool.take().kill()
    (spare,) = pool._spares
    os.killpg(spare.pid, 9)
    spare._process.wait()
    worker = pool.take()
    assert worker.examine("def f(): return 1", ["assert f() == 1"], ["f"]).results == [(True, "")]
    worker.kill()
    pool.close()


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
