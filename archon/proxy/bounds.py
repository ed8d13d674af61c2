"""Bounds on what a client may send: size, time, encoding and depth of a body. A body that passes is read whole.

What is refused: 413 too large; 408 too slow (a body must arrive within `seconds`); 400 not UTF-8, or nested deeper than
`depth`; 415 compressed, since a small body could unpack to any size.
"""

from __future__ import annotations

import re

from archon.proxy.asgi import App, Event, Receive, Scope, Send, header, refuse
from archon.proxy.deadline import Deadline

MAX_BODY = 20 * 1024 * 1024
"""Bytes: room for a few images as data URLs."""
MAX_DEPTH = 64
BODY_SECONDS = 30.0

_STRINGS = re.compile(rb'"(?:[^"\\]++|\\(?:.|\Z))*+(?:"|\Z)', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]+")


class BoundsMiddleware:
    """Reads the body within its bounds, then hands it on as one piece."""

    def __init__(
        self, app: App, *, max_body: int = MAX_BODY, max_depth: int = MAX_DEPTH, seconds: float = BODY_SECONDS
    ) -> None:
        self._app, self._max_body, self._max_depth, self._seconds = app, max_body, max_depth, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS", "DELETE"):
            await self._app(scope, receive, send)
            return
        try:
            body = await self._body(scope, receive)
        except _RefusedError as refused:
            headers = {"connection": "close"} if refused.close else None
            await refuse(send, refused.status, str(refused), code=refused.code, headers=headers)
            return
        if body is not None:
            await self._app(scope, _replayed(body, receive), send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None = the client left."""
        self._check_headers(scope)
        try:
            with Deadline(self._seconds):
                body = await self._read(receive)
        except TimeoutError:
            raise _RefusedError(
                408, "request_timeout", f"the body did not arrive within {self._seconds:g} s", close=True
            ) from None
        if body is not None:
            self._check(body)
        return body

    def _check_headers(self, scope: Scope) -> None:
        length = header(scope, b"content-length")
        if length is not None and length.isdecimal() and int(length) > self._max_body:
            raise self._too_large()
        coding = header(scope, b"content-encoding")
        if coding not in (None, "", "identity"):
            raise _RefusedError(415, "unsupported_encoding", "compressed bodies are not read; send the JSON as it is")

    async def _read(self, receive: Receive) -> bytes | None:
        pieces: list[bytes] = []
        size = 0
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                return None
            piece = event.get("body", b"")
            size += len(piece)
            if size > self._max_body:
                raise self._too_large()
            pieces.append(piece)
            if not event.get("more_body", False):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _check(self, body: bytes) -> None:
        try:
            body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _RefusedError(
                400, "invalid_encoding", f"the body is not UTF-8 (byte {error.start}); JSON must be"
            ) from None
        if deeper_than(body, self._max_depth):
            raise _RefusedError(400, "nesting_too_deep", f"the body is nested deeper than {self._max_depth} levels")

    def _too_large(self) -> _RefusedError:
        return _RefusedError(413, "request_too_large", f"the body is larger than {self._max_body:,} bytes", close=True)


class _RefusedError(Exception):
    def __init__(self, status: int, code: str, message: str, *, close: bool = False) -> None:
        super().__init__(message)
        self.status, self.code, self.close = status, code, close


def deeper_than(body: bytes, depth: int) -> bool:
    """Whether a JSON text opens more than `depth` brackets within one another; linear in its length."""
    if body.count(b"[") + body.count(b"{") <= depth:
        return False
    level = 0
    for run in _BRACKETS.finditer(_STRINGS.sub(b"", body)):
        for byte in run.group():
            level += 1 if byte in b"[{" else -1
            if level > depth:
                return True
    return False


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body in one event, then what the connection says."""
    first: list[Event] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Event:
        return first.pop() if first else await receive()

    return replay
