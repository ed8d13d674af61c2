"""A job's socket as the parent sees it: one message out, lines in, all before a deadline."""

from __future__ import annotations

import select
import socket
import time

MOST = 2**20
"""Bytes of a line, and of all lines of a job, at most."""


class Line:
    """A job's socket with a deadline."""

    def __init__(self, line: socket.socket, deadline: float) -> None:
        self._line, self._deadline, self._buffer = line, deadline, b""
        line.setblocking(False)

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def send(self, data: bytes) -> bool:
        """Whether all of it could be sent in time."""
        view = memoryview(data)
        while view:
            if not select.select([], [self._line], [], self._left())[1]:
                return False
            try:
                view = view[self._line.send(view) :]
            except BlockingIOError:
                continue
            except OSError:
                return False
        return True

    def receive(self) -> bytes | None:
        """The next line; None at the end, when the time is over, or where it is too long."""
        while b"\n" not in self._buffer:
            if len(self._buffer) > MOST or not select.select([self._line], [], [], self._left())[0]:
                return None
            try:
                piece = self._line.recv(2**16)
            except OSError:
                return None
            if not piece:
                return None
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())
