"""The ASGI types, and a refusal in OpenAI's error envelope: what the proxy's middleware is made of."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Protocol

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


class App(Protocol):
    """An ASGI application."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


def header(scope: Scope, name: bytes) -> str | None:
    """A request header's last value; None where it is missing. `name` in lower case."""
    known = scope.get("archon.headers")
    if known is None:  # looked up by name half a dozen times a request
        known = scope["archon.headers"] = dict(scope["headers"])
    value = known.get(name)
    return None if value is None else str(value, "latin-1")


def envelope(message: str, *, kind: str, code: str | None = None, param: str | None = None) -> bytes:
    """OpenAI's error body."""
    return json.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}}).encode()


async def refuse(
    send: Send,
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Answers with an error that repeating would not mend."""
    given = {"content-type": "application/json", "x-should-retry": "false", **(headers or {})}
    body = envelope(message, kind=kind, code=code)
    pairs = [(key.encode("latin-1"), value.encode("latin-1")) for key, value in given.items()]
    await answer(send, status, [*pairs, (b"content-length", str(len(body)).encode())], body)


async def answer(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
    """A whole response."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})
