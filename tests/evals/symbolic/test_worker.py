"""The process that compares: it answers, it is killed when it overruns, it starts again, it knows no secret."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
import signal
from collections.abc import Iterator

import pytest

from archon.evals.symbolic import serve as served
from archon.evals.symbolic.tokens import UnreadableError
from archon.evals.symbolic.worker import ComparisonError, SymbolicWorker


@pytest.fixture(scope="module")
def worker() -> Iterator[SymbolicWorker]:
    """One for all tests: a child takes its time to start."""
    started = SymbolicWorker(timeout=60.0)
    yield started
    started.close()
    started.close()  # idempotent


def test_it_answers_refuses_and_goes_on(worker: SymbolicWorker) -> None:
    async def inner() -> None:
        assert await worker.equal(r"\sqrt{8}", r"2\sqrt{2}")
        with pytest.raises(UnreadableError, match="words"):
            await worker.equal("1", "friday")
        assert not await worker.equal("1", "2")

    asyncio.run(inner())
    assert asyncio.run(worker.equal("x+x", "2x"))  # in another event loop


def test_it_is_killed_when_it_overruns_and_starts_anew(worker: SymbolicWorker) -> None:
    async def inner() -> None:
        assert await worker.equal("1", "1+0")
        first = worker.process_id
        assert first is not None
        os.kill(first, signal.SIGSTOP)  # it will never answer
        worker.timeout = 0.1
        try:
            with pytest.raises(ComparisonError, match=r"no verdict within 0\.1 s"):
                await worker.equal("x", "x+y")
        finally:
            worker.timeout = 60.0
        assert await worker.equal("1", "1+0")
        assert worker.process_id != first

    asyncio.run(inner())


def test_a_child_that_died_is_replaced(worker: SymbolicWorker) -> None:
    async def inner() -> None:
        assert await worker.equal("1", "1+0")
        assert worker.process_id is not None
        os.kill(worker.process_id, signal.SIGKILL)
        verdicts = []
        for _ in range(2):  # the first may meet the pipe of the dead child
            try:
                verdicts.append(await worker.equal("1", "1+0"))
            except ComparisonError:
                continue
        assert verdicts

    asyncio.run(inner())


def test_comparisons_at_once_keep_their_own_answers(worker: SymbolicWorker) -> None:
    async def inner() -> list[bool]:
        return await asyncio.gather(*(worker.equal(str(i % 3), "1") for i in range(12)))

    assert asyncio.run(inner()) == [i % 3 == 1 for i in range(12)]


def test_the_child_goes_with_its_worker() -> None:
    worker = SymbolicWorker(timeout=60.0)
    assert asyncio.run(worker.equal("1", "1+0"))
    child = worker.process_id
    assert child is not None
    del worker
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_key_in_the_environment_does_not_reach_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    from archon.evals.symbolic.worker import child_environment

    monkeypatch.setenv("SOME_PROVIDER_KEY", "sesame")
    assert "SOME_PROVIDER_KEY" not in child_environment()
    assert "sesame" not in child_environment().values()


def test_serving_reports_a_librarys_failure_as_that_pairs_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An engine that is not installed fails each pair with its name; the loop lives on."""
    monkeypatch.setattr(served, "_bound_memory", lambda: None)  # the limit would be this test's own
    lines = [
        {"reference": "1", "answer": "1", "engine": "sympy"},
        {"reference": "1", "answer": "friday", "engine": "sympy"},
        {"reference": "1", "answer": None, "engine": "sympy"},
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(json.dumps(line) + "\n" for line in lines)))
    served.serve()
    first, second, third = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first == {"equal": True}
    assert second == {"unreadable": "words"}
    assert third["failed"].startswith("TypeError")
