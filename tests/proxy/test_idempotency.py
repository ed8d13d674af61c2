"""One Idempotency-Key runs once, whoever leaves and whenever the others come."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from archon.proxy.asgi import App, Receive, Scope, Send
from archon.proxy.idempotency import Idempotency
from archon.proxy.logs import AccessLogMiddleware
from tests.proxy.direct import Answer, Echo, request


@dataclass(frozen=True)
class Key:
    id: str


class Slow:
    """Streams two pieces with a gate between them; says when it was cancelled by a client that left."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.calls = 0
        self.begun, self.gate, self.left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        await receive()
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"one,", "more_body": True})
        self.begun.set()
        gate, gone = asyncio.create_task(self.gate.wait()), asyncio.create_task(self._gone(receive))
        await asyncio.wait((gate, gone), return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            self.left.set()
            return
        gone.cancel()
        await send({"type": "http.response.body", "body": b"two"})

    async def _gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


async def post(
    app: App, name: str | None = "k1", body: bytes = b"{}", *, leave: asyncio.Event | None = None, path: str = "/v1"
) -> Answer:
    headers = {} if name is None else {"Idempotency-Key": name}
    return await request(app, "POST", path, headers=headers, body=[body], leave=leave)


async def test_requests_at_once_run_once_and_all_get_the_answer() -> None:
    slow = Slow()
    app = Idempotency().wrap(slow)
    asked = [asyncio.create_task(post(app)) for _ in range(10)]
    await slow.begun.wait()
    slow.gate.set()
    answers = await asyncio.gather(*asked)
    assert slow.calls == 1
    assert {answer.body for answer in answers} == {b"one,two"}
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 9


async def test_a_later_request_gets_the_kept_answer_for_a_while() -> None:
    echo, now = Echo(), 0.0
    app = Idempotency(ttl=10, clock=lambda: now).wrap(echo)
    first, second = await post(app), await post(app)
    assert (echo.calls, first.body, second.body) == (1, b"{}.", b"{}.")
    assert second.headers == {"x-made": "1", "idempotency-replayed": "true"}
    now += 10.1
    await post(app)
    assert echo.calls == 2


async def test_without_the_header_nothing_is_joined() -> None:
    echo = Echo()
    app = Idempotency().wrap(echo)
    await asyncio.gather(post(app, None), post(app, None))
    assert echo.calls == 2


async def test_the_same_name_with_another_body_is_refused() -> None:
    app = Idempotency().wrap(Echo())
    await post(app, body=b"{}")
    answer = await post(app, body=b"[]")
    assert (answer.status, answer.error["code"]) == (409, "idempotency_key_reused")
    assert answer.headers["x-should-retry"] == "false"


async def test_another_key_or_path_never_gets_the_answer() -> None:
    echo = Echo()
    inner = Idempotency().wrap(echo)

    def signed(key: str) -> App:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope["archon.key"] = Key(key)
            await inner(scope, receive, send)

        return app

    await post(signed("ann"))
    await post(signed("ben"))
    await post(signed("ann"), path="/v1/other")
    assert echo.calls == 3
    await post(signed("ann"))
    assert echo.calls == 3


@pytest.mark.parametrize("status", [400, 429, 500])
async def test_a_failure_is_not_kept(status: int) -> None:
    echo = Echo(status)
    app = Idempotency().wrap(echo)
    await post(app)
    await post(app)
    assert echo.calls == 2


async def test_the_work_goes_on_while_anybody_listens() -> None:
    slow, leave = Slow(), asyncio.Event()
    app = Idempotency().wrap(slow)
    first = asyncio.create_task(post(app, leave=leave))
    second = asyncio.create_task(post(app))
    await slow.begun.wait()
    leave.set()
    assert (await first).body in (b"", b"one,")
    slow.gate.set()
    assert (await second).body == b"one,two"
    assert not slow.left.is_set()


async def test_the_last_to_leave_ends_the_work_and_nothing_is_kept() -> None:
    slow, leave = Slow(), asyncio.Event()
    app = Idempotency().wrap(slow)
    asked = [asyncio.create_task(post(app, leave=leave)) for _ in range(2)]
    await slow.begun.wait()
    leave.set()
    await asyncio.gather(*asked)
    await asyncio.wait_for(slow.left.wait(), 60)
    again = asyncio.create_task(post(app))
    slow.gate.set()
    assert (await again).body == b"one,two"
    assert slow.calls == 2


async def test_what_the_application_raises_reaches_every_listener() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)
        raise ValueError("a bug")

    app = Idempotency().wrap(broken)
    ended = await asyncio.gather(post(app), post(app), return_exceptions=True)
    assert [str(each) for each in ended] == ["a bug", "a bug"]


async def test_kept_answers_are_bounded() -> None:
    echo = Echo()
    app = Idempotency(max_bytes=50).wrap(echo)
    for number in range(10):
        await post(app, f"k{number}", b"x" * 19)  # 20 bytes kept each
    assert echo.calls == 10
    await post(app, "k9", b"x" * 19)
    assert echo.calls == 10
    await post(app, "k0", b"x" * 19)
    assert echo.calls == 11


async def test_a_name_that_is_too_long_is_refused() -> None:
    answer = await post(Idempotency().wrap(Echo()), "k" * 256)
    assert (answer.status, answer.error["code"]) == (400, "idempotency_key_invalid")


async def test_every_request_keeps_its_own_id() -> None:
    slow = Slow()
    app = AccessLogMiddleware(Idempotency().wrap(slow))
    asked = [asyncio.create_task(post(app)) for _ in range(3)]
    await slow.begun.wait()
    slow.gate.set()
    ids = {answer.headers["x-request-id"] for answer in await asyncio.gather(*asked)}
    assert len(ids) == 3


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"error": {"message": "no"}}\n\n',
        b'data:{"error":{"message":"no"}}\n\n',
        b'data: {"id": "c-1", "choices": [], "error": {"message": "no"}}\r\n\r\n',
        b'event: error\ndata: {"type": "error"}\n\n',
        b'event:response.failed\ndata: {"type": "response.failed"}\n\n',
    ],
)
@pytest.mark.parametrize("cut", [0, 9])
async def test_a_stream_that_told_an_error_is_not_kept(event: bytes, cut: int) -> None:
    whole = b'data: {"choices": []}\n\n' + event + b"data: [DONE]\n\n"
    stream = Stream(whole, 20 + cut)
    app = Idempotency().wrap(stream)
    await post(app)
    await post(app)
    assert stream.calls == 2


async def test_a_stream_that_speaks_of_errors_is_kept() -> None:
    said = b'data: {"error": null, "choices": [{"delta": {"content": "\\ndata: {\\"error\\": 1}"}}]}\n\n'
    stream = Stream(said, 20)
    app = Idempotency().wrap(stream)
    await post(app)
    await post(app)
    assert stream.calls == 1


class Stream:
    """Answers with these bytes in two pieces; counts its calls."""

    def __init__(self, body: bytes, cut: int) -> None:
        self.body, self.cut = body, cut
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": self.body[: self.cut], "more_body": True})
        await send({"type": "http.response.body", "body": self.body[self.cut :]})
