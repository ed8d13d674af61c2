"""What a server that stops tells those whose answers it cannot finish: an error, as an event where a stream has begun.

When the time for requests under way is over, the server cancels them. Nobody else cancels a request from outside.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from archon.proxy.asgi import App, Event, Receive, Scope, Send, answer
from archon.proxy.errors import ApiError

PATIENCE = 5.0
"""Seconds that requests which have been cancelled may take to say so and to settle their bills."""


def stopped() -> ApiError:
    """The error. Calls under way are charged, so repeating the request would spend again."""
    return ApiError(503, "the server stopped before the answer's end", code="server_stopped", retry=False)


class UnderWay:
    """How many requests are being answered.

    with under_way:
        await answer()
    """

    def __init__(self) -> None:
        self._count = 0
        self._none: asyncio.Event | None = None

    def __enter__(self) -> None:
        self._count += 1

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        if self._none is not None and not self._count:
            self._none.set()

    async def ended(self, seconds: float = PATIENCE) -> None:
        """Returns when there are none, after `seconds` at the latest."""
        if not self._count:
            return
        self._none = asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._none.wait()


class StoppingMiddleware:
    """Ends answers that are cancelled from outside, where they have not ended themselves.

    Args:
        under_way: counts the requests.
    """

    def __init__(self, app: App, under_way: UnderWay) -> None:
        self._app = app
        self._under_way = under_way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._under_way:
            await self._ended(scope, receive, send)

    async def _ended(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun: Event | None = None
        ended = False

        async def watched(event: Event) -> None:
            nonlocal begun, ended
            if event["type"] == "http.response.start":
                begun = event
            else:
                ended = not event.get("more_body", False)
            await send(event)

        try:
            await self._app(scope, receive, watched)
        except asyncio.CancelledError:
            scope.setdefault("archon.log", {})["error_code"] = "server_stopped"
            if not ended:
                await _end(send, begun)


async def _end(send: Send, begun: Event | None) -> None:
    """Says so; what is no stream and has begun is left cut short, which its length shows."""
    error = stopped()
    if begun is None:
        await answer(send, error.status, [(b"content-type", b"application/json"), *error.headers()], error.encoded())
    elif any(name == b"content-type" and b"event-stream" in value for name, value in begun["headers"]):
        await send({"type": "http.response.body", "body": b"data: " + error.encoded() + b"\n\n"})
