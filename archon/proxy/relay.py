"""A stream of server-sent events passed on as it is, read for two things: its usage, and whether it came to its end."""

from __future__ import annotations

import json
from typing import Any

_LONGEST = 8 * 2**20
"""Bytes of an event; a longer one is passed on unread."""


class Relay:
    """Passes whole events on, however the bytes are cut.

    Args:
        show_usage: whether the client asked for the usage; else the event that holds nothing but it is left out.

    Attributes:
        usage: the usage object, where one came.
        done: whether the stream said that it is over.
    """

    def __init__(self, show_usage: bool) -> None:
        self._show = show_usage
        self._held = b""
        self.usage: dict[str, Any] | None = None
        self.done = False

    def feed(self, piece: bytes) -> bytes:
        """What of the stream can be passed on now."""
        data = self._held + piece if self._held else piece
        cut = max(
            data.rfind(b"\n\n") + 2 if b"\n\n" in data else 0, data.rfind(b"\r\n\r\n") + 4 if b"\r" in data else 0
        )
        if len(data) - cut > _LONGEST:
            cut = len(data)
        self._held = data[cut:]
        return self._read(data[:cut]) if cut else b""

    def end(self) -> bytes:
        """The last event, whose closing blank line some upstreams leave out."""
        held, self._held = self._held, b""
        return self._read(held) if held else b""

    def _read(self, events: bytes) -> bytes:
        if b"[DONE]" in events:
            self.done = True
        if b'"usage"' not in events:
            return events
        separator = b"\r\n\r\n" if b"\r\n\r\n" in events else b"\n\n"
        return separator.join(event for event in events.split(separator) if self._keep(event))

    def _keep(self, event: bytes) -> bool:
        """Takes the usage out of an event; whether the client is to see the event."""
        if b'"usage"' not in event:
            return True
        try:
            body = json.loads(event.partition(b"data:")[2])
        except ValueError:
            return True
        usage = body.get("usage") if isinstance(body, dict) else None
        if not isinstance(usage, dict):
            return True
        self.usage = usage
        return self._show or bool(body.get("choices"))
