"""A real OpenAI-compatible upstream on loopback that counts what reaches it: the outside witness of tests.

It runs in a thread with its own event loop, so it serves the test's own loop and processes the test starts (and
kills) alike.

    with CountingServer(lambda body: "42", latency=0.05) as server:
        spec = ModelSpec(id="m", endpoint=server.endpoint)
        ...
        assert server.total == 3
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Body = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the server does with one request. An error is told by `status`; None fields are left out."""

    text: str | None = "ok"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    """Sent as the body instead of an answer."""
    message: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the answer's message (tool_calls, …)."""
    finish_reason: str = "stop"
    usage: Mapping[str, Any] | None = field(default_factory=lambda: {"prompt_tokens": 7, "completion_tokens": 3})
    logprobs: Mapping[str, Any] | None = None
    latency: float | None = None
    """Seconds before the first byte; None = the server's."""
    hang: bool = False
    """Never answers."""
    drop: bool = False
    """Closes the connection without an answer."""
    chunks: Sequence[bytes] | None = None
    """A scripted stream, byte for byte as cut."""
    break_after: int | None = None
    """A stream that breaks off after so many events."""
    between: float = 0.0
    """Seconds between the events of a stream."""


class CountingServer:
    """An upstream.

    Args:
        answer: from a request's body to a text or a `Reply`; default: "ok".
        script: the first requests get these replies, in order of arrival.
        latency: seconds before the first byte.

    Attributes:
        bodies: every request's body, in order of arrival.
        headers: every request's headers.
        counts: requests by canonical body.
        peak: most requests under way at once.
        left: requests whose client went away before the answer.
    """

    def __init__(
        self,
        answer: Callable[[Body], str | Reply] | None = None,
        *,
        script: Iterable[Reply] = (),
        latency: float = 0.0,
    ) -> None:
        self._answer = answer or (lambda body: "ok")
        self._script = list(script)
        self._latency = latency
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="counting-server", daemon=True)
        self._up = threading.Event()
        self._down: asyncio.Event | None = None
        self.port = 0
        self.bodies: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.counts: Counter[str] = Counter()
        self.under_way = 0
        self.peak = 0
        self.left = 0

    @property
    def endpoint(self) -> str:
        """Base URL up to and including /v1."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def total(self) -> int:
        """Requests that arrived."""
        return len(self.bodies)

    @property
    def repeated(self) -> dict[str, int]:
        """Bodies that arrived more than once, with how often."""
        return {body: count for body, count in self.counts.items() if count > 1}

    def __enter__(self) -> CountingServer:
        self._thread.start()
        assert self._up.wait(10), "the server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._down is not None
        self._loop.call_soon_threadsafe(self._down.set)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self) -> None:
        self._down = asyncio.Event()
        app = web.Application(client_max_size=2**28)
        app.router.add_post("/v1/chat/completions", self._chat)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self._up.set()
        await self._down.wait()
        await runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.counts[json.dumps(body, sort_keys=True)] += 1
        self.under_way += 1
        self.peak = max(self.peak, self.under_way)
        try:
            return await self._reply(request, body)
        except (asyncio.CancelledError, ConnectionResetError):
            self.left += 1
            raise
        finally:
            self.under_way -= 1

    async def _reply(self, request: web.Request, body: Body) -> web.StreamResponse:
        said = self._script.pop(0) if self._script else self._answer(body)
        reply = Reply(said) if isinstance(said, str) else said
        await asyncio.sleep(self._latency if reply.latency is None else reply.latency)
        if reply.hang:
            await asyncio.sleep(3600)
        if reply.drop and request.transport is not None:
            request.transport.abort()
        if reply.raw is not None:
            return web.Response(body=reply.raw, status=reply.status, headers=reply.headers)
        if reply.status != 200:
            error = {"message": reply.text, "type": "scripted", "code": None}
            return web.json_response({"error": error}, status=reply.status, headers=reply.headers)
        if body.get("stream"):
            return await self._streamed(request, body, reply)
        return web.json_response(_completion(body, reply), headers=reply.headers)

    async def _streamed(self, request: web.Request, body: Body, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **reply.headers})
        await response.prepare(request)
        async for piece in _pieces(body, reply):
            await response.write(piece)
        if reply.break_after is not None and request.transport is not None:
            request.transport.close()
        return response


async def _pieces(body: Body, reply: Reply) -> AsyncIterator[bytes]:
    events = [_event(event) for event in _events(body, reply)] + [b"data: [DONE]\n\n"]
    for piece in reply.chunks if reply.chunks is not None else events[: reply.break_after]:
        yield piece
        await asyncio.sleep(reply.between)


def _event(event: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def _completion(body: Body, reply: Reply) -> Body:
    message = {"role": "assistant", "content": reply.text, **reply.message}
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason, "logprobs": reply.logprobs}
    whole: Body = {"id": "c-1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]}
    return whole if reply.usage is None else {**whole, "usage": dict(reply.usage)}


def _events(body: Body, reply: Reply) -> list[Body]:
    """An answer as the deltas that OpenAI's API makes of it: role, words, tool calls, finish, usage."""
    deltas: list[Body] = [{"role": "assistant", "content": ""}]
    words = (reply.text or "").split(" ")
    deltas += [{"content": word if index == 0 else f" {word}"} for index, word in enumerate(words) if reply.text]
    for index, call in enumerate(reply.message.get("tool_calls", ())):
        arguments = call["function"]["arguments"]
        head = {**call["function"], "arguments": ""}
        deltas.append({"tool_calls": [{"index": index, "id": call["id"], "type": "function", "function": head}]})
        for start in range(0, len(arguments), 5):
            piece = {"arguments": arguments[start : start + 5]}
            deltas.append({"tool_calls": [{"index": index, "function": piece}]})
    frame = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
    events = [{**frame, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    events.append({**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": reply.finish_reason}]})
    if reply.usage is not None and (body.get("stream_options") or {}).get("include_usage"):
        events.append({**frame, "choices": [], "usage": dict(reply.usage)})
    return events
