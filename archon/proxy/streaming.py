"""Server-sent events as they come: comments while nothing comes, an error as an event once the answer has begun.

Headers go out with the first event or the first comment, whichever is earlier, so that a request that fails at once
still gets its status; whatever goes before the answer waits for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from archon.proxy.errors import from_error
from archon.proxy.http import EVENT_STREAM, Call, Headers, Present
from archon.proxy.stopping import stopped


class Events:
    """The events of one answer, put in from anywhere on the event loop."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def put(self, data: bytes, name: str | None = None) -> None:
        """One event."""
        self._queue.put_nowait(event(data, name))

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


def event(data: bytes, name: str | None) -> bytes:
    """One event on the wire."""
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + data + b"\n\n"


async def stream(
    call: Call,
    work: Callable[[Events], Awaitable[None]],
    headers: Callable[[], Headers] = tuple,
    error_event: Callable[[bytes], tuple[bytes, str | None]] = lambda data: (data, None),
    begin: Callable[[Events], None] = lambda events: None,
) -> None:
    """Runs `work`, which puts events, and sends them; a client that goes away cancels it.

    Args:
        headers: read when they go out.
        error_event: the data and the name of an event that tells an error.
        begin: called when the first piece goes out; events that it puts follow that.

    Raises whatever `work` raises before anything was sent; later errors are told as an event.
    """
    try:
        await _run(call, work, headers, error_event, begin)
    except asyncio.CancelledError:  # the server stops; a client that leaves is ClientGone
        if not call.status:
            raise
        await _tell(call, *error_event(stopped().encoded()))
    await call.send({"type": "http.response.body", "body": b""})


async def _run(
    call: Call,
    work: Callable[[Events], Awaitable[None]],
    headers: Callable[[], Headers],
    error_event: Callable[[bytes], tuple[bytes, str | None]],
    begin: Callable[[Events], None],
) -> None:
    events = Events()
    with Present(call.receive):
        task = asyncio.ensure_future(work(events))
        task.add_done_callback(lambda _: events.close())
        try:
            await _forward(call, events, headers, begin)
            await task
        except Exception as error:
            if not call.status:
                raise
            call.services.unexpected(call, error)
            await _tell(call, *error_event(from_error(error, call.spent).encoded()))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _forward(call: Call, events: Events, headers: Callable[[], Headers], begin: Callable[[Events], None]) -> None:
    while (piece := await events.next(call.services.settings.keep_alive)) is not None:
        if not call.status:
            await call.start(200, [*EVENT_STREAM, *headers()])
            begin(events)
        await _send(call, piece)


async def _tell(call: Call, data: bytes, name: str | None) -> None:
    await _send(call, event(data, name))


async def _send(call: Call, piece: bytes) -> None:
    await call.send({"type": "http.response.body", "body": piece, "more_body": True})
