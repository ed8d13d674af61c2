"""What a server that stops tells those whose answers it cannot finish: an error, as an event where a stream has begun.

When the time for requests under way is over, the server cancels them. Nobody else cancels a request from outside.
"""

from __future__ import annotations

import asyncio

from archon.proxy.asgi import App, Event, Receive, Scope, Send, answer
from archon.proxy.errors import ApiError


def stopped() -> ApiError:
    """The error. Calls under way are charged, so repeating the request would spend again."""
    return ApiError(503, "the server stopped before the answer's end", code="server_stopped", retry=False)


class StoppingMiddleware:
    """Ends answers that are cancelled from outside, where they have not ended themselves."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
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
