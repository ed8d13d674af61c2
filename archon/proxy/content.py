"""What was asked and answered, for the access log of a server that was told to log it (`--log-content`)."""

from __future__ import annotations

import json
from typing import Any

from archon.proxy.asgi import Event, Send

MOST = 2**20
"""Bytes of an answer that are kept."""
_ASKED = ("messages", "prompt", "instructions", "input")


class Heard:
    """In the place of `send`: keeps what goes out."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._pieces: list[bytes] = []
        self._size = 0

    async def __call__(self, event: Event) -> None:
        """Sends an event."""
        piece = event.get("body", b"")[: MOST - self._size]
        self._pieces.append(piece)
        self._size += len(piece)
        await self._send(event)

    @property
    def answer(self) -> Any:
        """What went out: the object of a whole answer, the events of a stream as they are."""
        text = b"".join(self._pieces).decode("utf-8", "replace")
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text


def asked(body: bytes) -> Any:
    """The conversation of a request, under the names of its fields; None where it has none."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        return None
    given = {name: raw[name] for name in _ASKED if name in raw} if isinstance(raw, dict) else {}
    return given.get("messages", given or None)
