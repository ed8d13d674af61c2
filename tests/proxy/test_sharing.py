"""Several workers, one Idempotency-Key: one of them runs the request, whoever dies and whoever leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from archon.errors import ConfigError
from archon.proxy import sharing
from archon.proxy.answers import STALE, Kept, SharedAnswers
from archon.proxy.asgi import App, Receive, Scope, Send
from archon.proxy.idempotency import Idempotency
from archon.proxy.sharing import SharedIdempotency
from tests.proxy.direct import Answer, Echo, request
from tests.proxy.test_idempotency import Slow

HASH = b"h" * 32


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "POLL", 0.005)


def workers(tmp_path: Path, *apps: App) -> list[App]:
    """Each with flights of its own, over one file."""
    return [Idempotency().wrap(SharedIdempotency(app, SharedAnswers(tmp_path / "a.db"))) for app in apps]


async def post(app: App, body: bytes = b"{}", *, leave: asyncio.Event | None = None) -> Answer:
    return await request(app, "POST", "/v1", headers={"Idempotency-Key": "k"}, body=[body], leave=leave)


async def test_requests_at_several_workers_run_once(tmp_path: Path) -> None:
    slow = [Slow() for _ in range(3)]
    apps = workers(tmp_path, *slow)
    asked = [asyncio.create_task(post(app)) for app in apps for _ in range(4)]
    begun = [asyncio.create_task(each.begun.wait()) for each in slow]
    await asyncio.wait(begun, return_when=asyncio.FIRST_COMPLETED)
    for each in slow:
        each.gate.set()
    answers = await asyncio.gather(*asked)
    assert sum(each.calls for each in slow) == 1
    assert {answer.body for answer in answers} == {b"one,two"}
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 11
    for task in begun:
        task.cancel()


async def test_a_later_request_at_another_worker_gets_the_kept_answer(tmp_path: Path) -> None:
    first, second = Echo(), Echo()
    here, there = workers(tmp_path, first, second)
    assert (await post(here)).body == (await post(there)).body == b"{}."
    assert (first.calls, second.calls) == (1, 0)


async def test_another_body_is_refused_at_every_worker(tmp_path: Path) -> None:
    here, there = workers(tmp_path, Echo(), Echo())
    await post(here)
    answer = await post(there, b"[]")
    assert (answer.status, answer.error["code"]) == (409, "idempotency_key_reused")


@pytest.mark.parametrize("status", [400, 503])
async def test_a_failure_is_run_again_at_another_worker(tmp_path: Path, status: int) -> None:
    second = Echo()
    here, there = workers(tmp_path, Echo(status), second)
    await post(here)
    assert (await post(there)).status == 200
    assert second.calls == 1


async def test_a_stream_that_ended_in_an_error_is_not_kept(tmp_path: Path) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'data: {"x": 1}\n\n', "more_body": True})
        await send({"type": "http.response.body", "body": b'data: {"error": {}}\n\n'})

    second = Echo()
    here, there = workers(tmp_path, broken, second)
    await post(here)
    await post(there)
    assert second.calls == 1


async def test_a_worker_that_raises_gives_the_request_back(tmp_path: Path) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("a bug")

    second = Echo()
    here, there = workers(tmp_path, broken, second)
    with pytest.raises(ValueError, match="a bug"):
        await post(here)
    assert (await post(there)).status == 200


async def test_who_waits_for_another_worker_may_leave(tmp_path: Path) -> None:
    slow, leave = Slow(), asyncio.Event()
    here, there = workers(tmp_path, slow, Echo())
    first = asyncio.create_task(post(here))
    await slow.begun.wait()
    second = asyncio.create_task(post(there, leave=leave))
    await asyncio.sleep(0.02)
    leave.set()
    assert (await second).status == 0
    slow.gate.set()
    assert (await first).body == b"one,two"


def test_a_request_whose_worker_died_is_claimed_by_the_next(tmp_path: Path) -> None:
    now = 0.0
    dead, alive = (SharedAnswers(tmp_path / "a.db", clock=lambda: now) for _ in range(2))
    assert dead.claim("n", HASH) == "mine"
    now += STALE - 1
    assert alive.claim("n", HASH) == "running"
    dead.beat("n")
    now += STALE - 1
    assert alive.claim("n", HASH) == "running"
    now += 2
    assert alive.claim("n", HASH) == "mine"
    dead.keep("n", Kept(200, [], b"late"))  # it was not dead after all: its answer is not the claim's any more
    assert dead.claim("n", HASH) == "running"


def test_answers_are_kept_for_a_while_and_for_their_owner_alone(tmp_path: Path) -> None:
    now = 0.0
    answers = SharedAnswers(tmp_path / "a.db", ttl=600, clock=lambda: now)
    answers.claim("n", HASH)
    answers.keep("n", Kept(200, [(b"x", b"\xff")], b"\x00body"))
    assert answers.claim("n", HASH) == Kept(200, [(b"x", b"\xff")], b"\x00body")
    now += 601
    assert answers.claim("n", HASH) == "mine"
    assert (tmp_path / "a.db").stat().st_mode & 0o077 == 0


def test_a_file_that_is_no_database_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("no database" * 100)
    with pytest.raises(ConfigError, match="cannot be opened"):
        SharedAnswers(tmp_path / "a.db")
