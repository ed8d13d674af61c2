"""uvicorn's HTTP protocol, with two things it does not do itself: connections that send their request line and headers
too slowly are closed, and what an answer writes in one turn of the event loop leaves in one piece.

uvicorn.Config(app, http=timed_protocol(10.0))
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

HEADER_SECONDS = 10.0


class Corked:
    """A transport that joins the writes of one turn of the event loop: status, headers and body are one call of the
    system and one packet. Everything else is the transport's own."""

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._soon = transport, loop.call_soon
        self._held: list[bytes] = []
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Holds the bytes until the loop's next turn."""
        if not self._held:
            self._soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        """Closes when everything written has left."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, []
            if not self._transport.is_closing():  # the client may have gone meanwhile
                self._transport.write(b"".join(held))


def timed_protocol(seconds: float = HEADER_SECONDS) -> type[asyncio.Protocol]:
    """uvicorn's HTTP protocol, closing a connection whose headers are not there `seconds` after they were due."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class TimedProtocol(HttpToolsProtocol):
        """A clock runs while a request's headers are due: from the connection's beginning for the first, from their
        first byte for the others."""

        _due: asyncio.TimerHandle | None = None
        _headers_done = False

        def connection_made(self, transport: Any) -> None:
            super().connection_made(cast(asyncio.Transport, Corked(transport, self.loop)))
            self._due = self.loop.call_later(seconds, self._close)

        def data_received(self, data: bytes) -> None:
            between = self._due is None and self.cycle is not None and self.cycle.response_complete
            self._headers_done = False
            super().data_received(data)
            if between and not self._headers_done:  # most requests come whole, and need no clock
                self._due = self.loop.call_later(seconds, self._close)

        def on_headers_complete(self) -> None:
            self._headers_done = True
            self._stop_clock()
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_clock()
            super().connection_lost(exc)

        def _stop_clock(self) -> None:
            if self._due is not None:
                self._due.cancel()
                self._due = None

        def _close(self) -> None:
            self._due = None
            if not self.transport.is_closing():
                self.transport.close()

    return TimedProtocol
