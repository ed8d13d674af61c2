"""Messages over a pipe or a socket: four bytes of length, then JSON in UTF-8."""

from __future__ import annotations

import json
import os
from typing import Any

LARGEST = 8 * 2**20
"""Bytes of one message at most."""


def send(fd: int, message: Any) -> None:
    """Sends one message. Raises ValueError for one that is too large, OSError where nobody listens."""
    data = json.dumps(message).encode()
    if len(data) > LARGEST:
        raise ValueError(f"a message of {len(data)} bytes is larger than {LARGEST}")
    view = memoryview(len(data).to_bytes(4) + data)
    while view:
        view = view[os.write(fd, view) :]


def receive(fd: int) -> Any:
    """The next message. Raises EOFError at the end, ValueError for what is no message."""
    length = int.from_bytes(_exactly(fd, 4))
    if length > LARGEST:
        raise ValueError(f"a message of {length} bytes is larger than {LARGEST}")
    return json.loads(_exactly(fd, length))


def _exactly(fd: int, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = os.read(fd, min(length - len(data), 2**16))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)
