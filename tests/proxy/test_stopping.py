"""A server that stops waits for those it has cancelled, and for no one else."""

from __future__ import annotations

import asyncio

import pytest

from archon.proxy.asgi import Receive, Scope, Send
from archon.proxy.stopping import StoppingMiddleware, UnderWay
from tests.proxy.direct import Answer, request


async def test_it_waits_until_the_last_request_has_ended() -> None:
    under_way = UnderWay()
    await under_way.ended()  # there is none
    with under_way:
        with under_way:
            waiting = asyncio.create_task(under_way.ended(60.0))
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting


async def test_it_waits_no_longer_than_it_is_told() -> None:
    under_way = UnderWay()
    with under_way:
        await under_way.ended(0.0)


def hanging(*sent: dict[str, object]) -> StoppingMiddleware:
    """Sends some events, then nothing more."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for event in sent:
            await send(dict(event))
        await asyncio.Event().wait()

    return StoppingMiddleware(app, UnderWay())


async def cancelled(app: StoppingMiddleware) -> Answer:
    """What a client is told by a request that is cancelled while it hangs."""
    asking = asyncio.create_task(request(app))
    for _ in range(5):
        await asyncio.sleep(0)
    asking.cancel()
    return await asking


def started(kind: bytes) -> dict[str, object]:
    return {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]}


async def test_before_the_answer_begins_it_is_a_503() -> None:
    answer = await cancelled(hanging())
    assert (answer.status, answer.error["code"]) == (503, "server_stopped")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("pieces", [(), ({"type": "http.response.body", "body": b": hi\n\n", "more_body": True},)])
async def test_in_a_stream_it_is_an_event(pieces: tuple[dict[str, object], ...]) -> None:
    answer = await cancelled(hanging(started(b"text/event-stream; charset=utf-8"), *pieces))
    assert answer.status == 200
    assert b'data: {"error": {"message": "the server stopped' in answer.body
    assert answer.body.endswith(b"\n\n")


async def test_in_a_whole_answer_nothing_can_be_said() -> None:
    assert (await cancelled(hanging(started(b"application/json")))).body == b""


async def test_what_has_ended_is_left_alone() -> None:
    end = {"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False}
    assert (await cancelled(hanging(started(b"text/event-stream"), end))).body == b"data: [DONE]\n\n"
