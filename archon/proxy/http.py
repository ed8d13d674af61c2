"""The little of HTTP that the POST routes need, straight on ASGI: read a body, answer, notice that the client left."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from archon.proxy.asgi import Receive, Scope, Send
from archon.proxy.content import Heard, asked
from archon.proxy.errors import ApiError, from_error, invalid

if TYPE_CHECKING:
    from archon.proxy.architectures import Catalogue
    from archon.proxy.keys import KeyRecord
    from archon.proxy.ledger import Hold
    from archon.proxy.passed import Passing
    from archon.proxy.services import Services
    from archon.proxy.unmetered import FreeHold

Headers = Iterable[tuple[bytes, bytes]]

EVENT_STREAM = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
_JSON = (b"content-type", b"application/json")
_PATIENCE = 0.05
"""Seconds before anybody watches whether the client has gone: most answers come sooner, and a watcher is a task."""


class ClientGone(Exception):
    """The client has closed its connection; its work has been cancelled."""


@dataclass(slots=True)
class Call:
    """One HTTP request and the way to answer it."""

    services: Services
    catalogue: Catalogue
    """What was served when the request came; it stays open until the request has ended."""
    scope: Scope
    receive: Receive
    send: Send
    body: bytes = b""
    began: float = field(default_factory=time.perf_counter)
    model: str = ""
    """What metrics and logs name as the model; a served one or empty."""
    status: int = 0
    """Sent; 0 = nothing yet."""
    waited: float = 0.0
    """Seconds spent waiting for upstreams."""
    spent: bool = False
    """Whether something was paid for already."""
    passing: Passing | None = None
    """What is known of it where it is passed through to a plain model."""
    _token_seen: bool = False

    @property
    def id(self) -> str:
        """Of the request; on every answer as `x-request-id` (archon.proxy.logs sees to it)."""
        found: str = self.scope["archon.request_id"]
        return found

    @property
    def key(self) -> KeyRecord | None:
        """Whose request it is; None = the service is open."""
        found: KeyRecord | None = self.scope.get("archon.key")
        return found

    def say(self, **facts: Any) -> None:
        """Tells the access log."""
        self.scope.setdefault("archon.log", {}).update(facts)

    def named(self, model: str) -> None:
        """The request is for this model."""
        self.model = model
        self.say(model=model)

    def first_token(self) -> bool:
        """Notes that the first token goes out; whether it is the first."""
        if self._token_seen:
            return False
        self._token_seen = True
        seconds = time.perf_counter() - self.began
        self.services.metrics.first_token(self.model, seconds)
        self.say(first_token_ms=round(seconds * 1e3, 2))
        return True

    @property
    def overhead_ms(self) -> str:
        """Milliseconds since the request came, less those spent waiting for upstreams."""
        return f"{max(0.0, time.perf_counter() - self.began - self.waited) * 1e3:.2f}"

    def json(self) -> dict[str, Any]:
        """The body. Raises ApiError where it is no JSON object."""
        try:
            raw = json.loads(self.body.decode("utf-8").removeprefix("\ufeff"))
        except RecursionError:
            raise invalid("the body is nested too deeply", code="invalid_json") from None
        except ValueError as error:
            raise invalid(f"the body is not valid JSON ({str(error)[:100]})", code="invalid_json") from None
        if not isinstance(raw, dict):
            raise invalid(f"the body must be a JSON object, got {type(raw).__name__}", code="invalid_json")
        return raw

    async def start(self, status: int, headers: Headers = ()) -> None:
        """Sends status and headers."""
        self.status = status
        await self.send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def answer(self, body: bytes, headers: Headers = (), status: int = 200) -> None:
        """Sends a whole JSON answer."""
        await self.start(status, [_JSON, (b"content-length", str(len(body)).encode()), *headers])
        await self.send({"type": "http.response.body", "body": body})

    async def refuse(self, error: ApiError) -> None:
        """Sends an error."""
        await self.answer(error.encoded(), error.headers(), error.status)


def room(hold: Hold | FreeHold) -> list[tuple[bytes, bytes]]:
    """What is left of the key's minute and day, in the headers that clients know; nothing where nothing is bounded."""
    grant = hold.grant
    if grant is None:
        return []
    found = []
    if grant.rate is not None:
        found.append((b"x-ratelimit-limit-requests", str(grant.rate.limit).encode()))
        found.append((b"x-ratelimit-remaining-requests", str(grant.rate.remaining).encode()))
        found.append((b"x-ratelimit-reset-requests", f"{grant.rate.reset:.1f}s".encode()))
    if grant.tokens_left is not None:
        found.append((b"x-ratelimit-remaining-tokens", str(grant.tokens_left).encode()))
    return found


Handler = Callable[[Call], Awaitable[None]]


class Endpoint:
    """An ASGI app for one POST route: reads the body, calls the handler, turns what it raises into an answer.

    Attributes:
        path: the route's template, for metrics and logs.
    """

    def __init__(self, services: Services, path: str, handler: Handler) -> None:
        self._services = services
        self.path = path
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        scope["route"] = self
        services = self._services
        services.metrics.in_flight.inc()
        try:
            with services.catalogue as catalogue:
                call = Call(services, catalogue, scope, receive, send)
                await (self._logged(call) if services.settings.log_content else self._answered(call))
        finally:
            services.metrics.in_flight.dec()

    async def _logged(self, call: Call) -> None:
        """The same with what was asked and answered told to the log."""
        call.send = heard = Heard(call.send)
        try:
            await self._answered(call)
        finally:
            call.say(messages=asked(call.body), answer=heard.answer)

    async def _answered(self, call: Call) -> None:
        try:
            call.body = await read_body(call.receive, self._services.settings.max_body_bytes)
            await self._handler(call)
        except ClientGone:
            call.say(error_code="client_gone")
        except Exception as error:
            told = from_error(error, call.spent)
            call.say(error_code=told.code)
            self._services.unexpected(call, error)
            await _failed(call, told)
        finally:
            if call.passing is not None and self._services.passed is not None:
                self._services.passed.note(call, call.passing)


async def _failed(call: Call, error: ApiError) -> None:
    """Tells an error, as an event where the answer has begun already."""
    if not call.status:
        await call.refuse(error)
        return
    await call.send({"type": "http.response.body", "body": b"data: " + error.encoded() + b"\n\n"})


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body. Raises ApiError 413 where it is larger than `limit` bytes."""
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise ApiError(413, f"the body is larger than {limit:,} bytes", code="body_too_large")
        if not message.get("more_body") and not pieces:
            return bytes(piece)
        pieces.append(piece)
        if not message.get("more_body"):
            return b"".join(pieces)


class Present:
    """Cancels the work inside where the client goes away, and says so by ClientGone; by TimeoutError after `seconds`.

    with Present(call.receive):
        await work()
    """

    def __init__(self, receive: Receive, seconds: float | None = None) -> None:
        self._receive = receive
        self._seconds = seconds
        self._late = False
        self._gone = False
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._loop = task.get_loop()
        if self._seconds is not None and self._seconds <= _PATIENCE:
            self._timer = self._loop.call_later(self._seconds, self._expire)
        else:
            self._timer = self._loop.call_later(_PATIENCE, self._watch)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if (self._gone or self._late) and kind is not None and issubclass(kind, asyncio.CancelledError):
            self._task.uncancel()
            raise (ClientGone if self._gone else TimeoutError) from None

    def _expire(self) -> None:
        self._late = True
        self._task.cancel()

    def _watch(self) -> None:
        self._watcher = asyncio.ensure_future(self._listen())
        if self._seconds is not None:  # one timer does for most requests: they are over by now
            self._timer = self._loop.call_later(self._seconds - _PATIENCE, self._expire)

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._task.cancel()
