"""Requests that carry one Idempotency-Key run once: the first runs, the others get its answer as it comes.

A flight is known by the caller's key, the Idempotency-Key and the path; another body under the same name is refused
(409). The work goes on while anybody listens; when the last listener leaves, it is cancelled as a lone request's would
be. A whole answer below status 400 is kept for `ttl` seconds; a failure is not, so that repeating tries again.

    Idempotency(ttl=600).wrap(SharedIdempotency(app, answers))   # inside auth and bounds

Flights are of one process; `archon.proxy.sharing` joins the workers of one machine.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from archon.proxy.asgi import App, Event, Receive, Scope, Send, header, refuse
from archon.proxy.told import failed

TTL = 600.0
MAX_BYTES = 64 * 1024 * 1024
"""Answers kept, all together."""
MAX_ANSWER = 8 * 1024 * 1024
"""A longer one is passed on and not kept."""
MAX_NAME = 255

Name = tuple[str, str, str]


@dataclass(eq=False)
class Flight:
    """One run of a request, and what it has answered so far."""

    body_hash: bytes
    events: list[Event] = field(default_factory=list)
    size: int = 0
    listeners: int = 0
    done: bool = False
    error: BaseException | None = None
    ended: float = 0.0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Replaced at every event: listeners wait on the one they saw."""
    deserted: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def add(self, event: Event) -> None:
        """Tells listeners one more event."""
        self.events.append(event)
        self.size += len(event.get("body", b""))
        self._tell()

    def end(self, error: BaseException | None, now: float) -> None:
        """Tells listeners that nothing more comes."""
        self.done, self.error, self.ended = True, error, now
        self._tell()

    @property
    def complete(self) -> bool:
        """Whether the answer is whole and worth keeping."""
        return self.error is None and whole(self.events)

    def _tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


def whole(events: Sequence[Event]) -> bool:
    """Whether an answer is one to keep: below 400, sent to its end, and no stream that ended in an error."""
    if not events or events[0]["type"] != "http.response.start":
        return False
    done = int(events[0]["status"]) < 400 and not events[-1].get("more_body", False)
    return done and not failed(b"".join(event.get("body", b"") for event in events[1:]))


class Idempotency:
    """The flights of one application.

    Args:
        ttl: seconds that an answer is kept.
        max_bytes: of all answers kept.
    """

    def __init__(
        self, *, ttl: float = TTL, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ttl, self._max_bytes, self._clock = ttl, max_bytes, clock
        self._flights: OrderedDict[Name, Flight] = OrderedDict()

    def wrap(self, app: App) -> App:
        """The application, running equal requests once."""

        async def once(scope: Scope, receive: Receive, send: Send) -> None:
            name = header(scope, b"idempotency-key") if scope["type"] == "http" else None
            if not name or scope["method"] != "POST":
                await app(scope, receive, send)
            elif len(name) > MAX_NAME:
                await refuse(
                    send, 400, f"Idempotency-Key: at most {MAX_NAME} characters", code="idempotency_key_invalid"
                )
            else:
                await self._join(app, name, scope, receive, send)

        return once

    async def _join(self, app: App, header_value: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if body is None:
            return
        key = scope.get("archon.key")
        name = (key.id if key else "", header_value, scope["path"])
        digest = hashlib.sha256(body).digest()
        self._forget_old()
        flight = self._flights.get(name)
        if flight is not None and flight.body_hash != digest:
            message = "this Idempotency-Key was used with another body; use a new one for a new request"
            await refuse(send, 409, message, code="idempotency_key_reused")
            return
        replayed = flight is not None
        if flight is None:
            flight = self._flights[name] = Flight(digest)
            flight.task = asyncio.create_task(self._run(app, name, flight, scope, body))
        await _listen(flight, receive, send, replayed)
        if flight.deserted.is_set() and self._flights.get(name) is flight:
            del self._flights[name]  # it is being cancelled: nobody may join it any more

    async def _run(self, app: App, name: Name, flight: Flight, scope: Scope, body: bytes) -> None:
        """The request itself, in a task of its own, so that no one listener's leaving ends it."""
        asked: list[Event] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Event:
            if asked:
                return asked.pop()
            await flight.deserted.wait()
            return {"type": "http.disconnect"}

        async def send(event: Event) -> None:
            flight.add(event)

        error: BaseException | None = None
        try:
            await app(scope, receive, send)
        except BaseException as raised:
            error = raised
            if not isinstance(raised, Exception):
                raise
        finally:
            flight.end(error, self._clock())
            if (not flight.complete or flight.size > MAX_ANSWER) and self._flights.get(name) is flight:
                del self._flights[name]

    def _forget_old(self) -> None:
        """Drops answers past their time, and the oldest while all together are too large."""
        oldest = self._clock() - self._ttl
        kept = sum(flight.size for flight in self._flights.values())
        for name, flight in list(self._flights.items()):
            if flight.done and (flight.ended < oldest or kept > self._max_bytes):
                del self._flights[name]
                kept -= flight.size


async def _body(receive: Receive) -> bytes | None:
    pieces: list[bytes] = []
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        pieces.append(event.get("body", b""))
        if not event.get("more_body", False):
            return b"".join(pieces)


async def _listen(flight: Flight, receive: Receive, send: Send, replayed: bool) -> None:
    """Sends a flight's events from the first on, until it ends or this listener leaves."""
    flight.listeners += 1
    leaving = asyncio.create_task(_left(receive))
    try:
        await _tail(flight, send, replayed, leaving)
    finally:
        leaving.cancel()
        flight.listeners -= 1
        if flight.listeners == 0 and not flight.done:
            flight.deserted.set()


async def _tail(flight: Flight, send: Send, replayed: bool, leaving: asyncio.Task[None]) -> None:
    sent = 0
    while True:
        news = flight.news
        while sent < len(flight.events):
            await send(_marked(flight.events[sent]) if replayed else flight.events[sent])
            sent += 1
        if flight.done:
            break
        waiting = asyncio.create_task(news.wait())
        await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if leaving.done():
            return
    if flight.error is not None:
        raise flight.error


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _marked(event: Event) -> Event:
    if event["type"] != "http.response.start":
        return event
    return {**event, "headers": replayed_headers(event.get("headers", ()))}


def replayed_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """An answer's headers for another request: marked, and without the first one's name."""
    own = [(name, value) for name, value in headers if name != b"x-request-id"]
    return [*own, (b"idempotency-replayed", b"true")]
