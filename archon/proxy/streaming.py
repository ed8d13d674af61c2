"""Server-sent events as they come: comments while nothing comes, an error as an event once the answer has begun.

Headers go out with the first event or the first comment, whichever is earlier, so that a request that fails at once
still gets its status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from archon.proxy.errors import from_error
from archon.proxy.http import EVENT_STREAM, Call, Headers, Present


class Events:
    """The events of one answer, put in from anywhere on the event loop."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def put(self, data: bytes, name: str | None = None) -> None:
        """One event."""
        head = f"event: {name}\n".encode() if name else b""
        self._queue.put_nowait(head + b"data: " + data + b"\n\n")

    def close(self) -> None:
        """No more events."""
        self._queue.put_nowait(None)

    async def next(self, patience: float) -> bytes | None:
        """All events that wait, as one piece; a comment when none comes for `patience` seconds; None at the end."""
        try:
            async with asyncio.timeout(patience):
                piece = await self._queue.get()
        except TimeoutError:
            return b": keep-alive\n\n"
        while piece is not None and not self._queue.empty():
            following = self._queue.get_nowait()
            if following is None:
                self.close()
                break
            piece += following
        return piece


async def stream(
    call: Call,
    work: Callable[[Events], Awaitable[None]],
    headers: Headers = (),
    error_event: Callable[[bytes], tuple[bytes, str | None]] = lambda data: (data, None),
) -> None:
    """Runs `work`, which puts events, and sends them; a client that goes away cancels it.

    Raises whatever `work` raises before anything was sent; later errors are told as an event.
    """
    events = Events()
    with Present(call.receive):
        task = asyncio.ensure_future(work(events))
        task.add_done_callback(lambda _: events.close())
        try:
            await _forward(call, events, [*EVENT_STREAM, *headers])
            await task
        except Exception as error:
            if not call.status:
                raise
            call.services.unexpected(call, error)
            data, name = error_event(from_error(error, call.spent).encoded())
            await _send(call, (f"event: {name}\n".encode() if name else b"") + b"data: " + data + b"\n\n")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await call.send({"type": "http.response.body", "body": b""})


async def _forward(call: Call, events: Events, headers: Headers) -> None:
    while (piece := await events.next(call.services.settings.keep_alive)) is not None:
        if not call.status:
            await call.start(200, headers)
        await _send(call, piece)


async def _send(call: Call, piece: bytes) -> None:
    await call.send({"type": "http.response.body", "body": piece, "more_body": True})
