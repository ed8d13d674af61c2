"""Requests straight into an ASGI application, event by event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archon.proxy.asgi import App, Event, Receive, Scope, Send


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pieces: list[bytes] = field(default_factory=list)

    @property
    def error(self) -> dict[str, Any]:
        """The object in the error envelope."""
        found: dict[str, Any] = json.loads(self.body)["error"]
        return found


def scope(method: str = "GET", path: str = "/", headers: Mapping[str, str] | None = None) -> Scope:
    """An HTTP scope."""
    pairs = [(key.lower().encode(), value.encode("latin-1")) for key, value in (headers or {}).items()]
    return {"type": "http", "method": method, "path": path, "headers": pairs, "query_string": b""}


async def request(
    app: App,
    method: str = "GET",
    path: str = "/",
    *,
    headers: Mapping[str, str] | None = None,
    body: Sequence[bytes] = (b"",),
    pause: Callable[[], Awaitable[None]] | None = None,
    leave: asyncio.Event | None = None,
) -> Answer:
    """One request and its whole answer.

    Args:
        body: in pieces.
        pause: awaited before each piece of the body.
        leave: when it is set, the client goes away.
    """
    waiting = list(body)
    answer = Answer()

    async def receive() -> Event:
        if pause is not None and waiting:
            await pause()
        if waiting:
            piece = waiting.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(waiting)}
        await (leave or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(event: Event) -> None:
        if event["type"] == "http.response.start":
            answer.status = event["status"]
            answer.headers = {key.decode(): value.decode() for key, value in event["headers"]}
        else:
            answer.pieces.append(event.get("body", b""))
            answer.body += event.get("body", b"")

    await app(scope(method, path, headers), receive, send)
    return answer


class Echo:
    """Answers with the body it was sent, in the pieces it is told; counts its calls."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.calls = 0
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        self.scopes.append(scope)
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        await send({"type": "http.response.start", "status": self.status, "headers": [(b"x-made", b"1")]})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"."})
