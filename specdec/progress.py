"""How far a long run is: a bar on a terminal, now and then a line elsewhere. Standard library only."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

_WIDTH = 30
_TENTHS = 10


class Progress:
    """stream: where it is shown; None = nowhere. clock: seconds, rising."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._bar = bool(stream and stream.isatty())
        self._label, self._started, self._first, self._tenth = "", 0.0, 0, -1

    def say(self, line: str) -> None:
        """A line that stays."""
        if self._stream:
            clear = "\r\033[K" if self._bar else ""
            print(f"{clear}{line}", file=self._stream, flush=True)

    def at(self, label: str, done: int, total: int) -> None:
        """`done` of `total` parts of `label` are done; time left is reckoned from the first call with this label."""
        if not self._stream:
            return
        if label != self._label:
            self._label, self._started, self._first, self._tenth = label, self._clock(), done, -1
        text = f"{label} {done}/{total}{self._left(done, total)}"
        if self._bar:
            full = _WIDTH * done // max(total, 1)
            print(f"\r\033[K[{'#' * full}{'.' * (_WIDTH - full)}] {text}", end="", file=self._stream, flush=True)
            if done >= total:
                print(file=self._stream, flush=True)
        elif (tenth := _TENTHS * done // max(total, 1)) != self._tenth:
            self._tenth = tenth
            print(text, file=self._stream, flush=True)

    def _left(self, done: int, total: int) -> str:
        made = done - self._first
        if made <= 0 or done >= total:
            return ""
        seconds = round((self._clock() - self._started) * (total - done) / made)
        return f", {seconds // 60}:{seconds % 60:02d} left"
