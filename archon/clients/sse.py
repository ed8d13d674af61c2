"""Server-sent events, read incrementally: WHATWG HTML Living Standard, section 9.2.6 ("Interpreting an event stream").

Bytes may be cut anywhere: inside a character, between CR and LF, between the two line ends that close an event.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator


class EventParser:
    """Turns pieces of a response body into the data of its events. Comments, ids and event names are left out."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._text = ""
        self._data: list[str] = []
        self._first = True

    def feed(self, piece: bytes) -> Iterator[str]:
        """The data of every event that `piece` completes, its `data` lines joined by newlines."""
        self._text += self._decode(piece)
        if self._first and self._text:
            self._text, self._first = self._text.removeprefix("\ufeff"), False
        for line in self._lines():
            if line:
                self._field(line)
            elif self._data:
                yield "\n".join(self._data)
                self._data.clear()

    def end(self) -> Iterator[str]:
        """The data of a last event whose closing blank line never came: upstreams leave it out after `[DONE]`."""
        yield from self.feed(b"\n\n")

    def _lines(self) -> Iterator[str]:
        """Whole lines; a CR at the very end waits, for its LF may still come."""
        held = "\r" if self._text.endswith("\r") else ""
        *lines, rest = self._text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._text = rest + held
        yield from lines

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
