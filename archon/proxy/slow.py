"""Connections that send their request line and headers too slowly are closed, as uvicorn itself does not.

uvicorn.Config(app, http=timed_protocol(10.0))
"""

from __future__ import annotations

import asyncio
from typing import Any

HEADER_SECONDS = 10.0


def timed_protocol(seconds: float = HEADER_SECONDS) -> type[asyncio.Protocol]:
    """uvicorn's HTTP protocol, closing a connection whose headers are not there `seconds` after they were due."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class TimedProtocol(HttpToolsProtocol):
        """Starts a clock where a request's headers are due, and stops it where they are complete."""

        _due: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._start_clock()

        def data_received(self, data: bytes) -> None:
            if self._due is None and self.cycle is not None and self.cycle.response_complete:
                self._start_clock()
            super().data_received(data)

        def on_headers_complete(self) -> None:
            self._stop_clock()
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_clock()
            super().connection_lost(exc)

        def _start_clock(self) -> None:
            self._due = self.loop.call_later(seconds, self._close)

        def _stop_clock(self) -> None:
            if self._due is not None:
                self._due.cancel()
                self._due = None

        def _close(self) -> None:
            self._due = None
            if not self.transport.is_closing():
                self.transport.close()

    return TimedProtocol
