"""A stream of server-sent events passed on as it is, read for two things: its usage, and whether it came to its end."""

from __future__ import annotations

from typing import Any

from archon.proxy.told import FINISH, USAGE, body_of, ended, failed

_LONGEST = 8 * 2**20
"""Bytes of an event; a longer one is passed on unread."""


class Relay:
    """Passes whole events on, however the bytes are cut.

    Args:
        show_usage: whether the client asked for the usage; else the event that holds nothing but it is left out.
        copies: how many answers were asked for.

    Attributes:
        usage: the usage object that came last.
        done: whether the stream said that it is over: by its mark, or by a finish reason of every answer.
        failed: whether it told an error.
    """

    def __init__(self, show_usage: bool, copies: int = 1) -> None:
        self._show, self._copies = show_usage, copies
        self._held = b""
        self._finished: set[object] = set()
        self._last = False
        self.usage: dict[str, Any] | None = None
        self.done = self.failed = False

    @property
    def bill(self) -> dict[str, Any] | None:
        """The usage, where it is the whole answer's: some upstreams tell one beside every piece."""
        return self.usage if self._last else None

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
        marked = ended(events)
        self.done = self.done or marked
        self.failed = self.failed or failed(events)
        usage = b'"usage"' in events and USAGE.search(events)
        if usage or (not self.done and FINISH.search(events)):
            separator = b"\r\n\r\n" if b"\r\n\r\n" in events else b"\n\n"
            events = separator.join(event for event in events.split(separator) if self._keep(event))
        self._last = self._last or marked
        return events

    def _keep(self, event: bytes) -> bool:
        """Takes finish reasons and the usage out of an event; whether the client is to see the event."""
        body = body_of(event) if b'"usage"' in event or b'"finish_reason"' in event else None
        if body is None:
            return True
        choices = body.get("choices")
        self._finish(choices)
        usage = body.get("usage")
        if not isinstance(usage, dict):
            return True
        self.usage, self._last = usage, self.done or not choices
        return self._show or bool(choices)

    def _finish(self, choices: object) -> None:
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("finish_reason"):
                self._finished.add(str(choice.get("index")))
        self.done = self.done or len(self._finished) >= self._copies
