"""One Idempotency-Key, several workers: the one that claims a request runs it, the others give its answer when it is
whole.

Stands inside `archon.proxy.idempotency`, which joins the requests of one worker, so at most one request a name gets
here.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sqlite3
from contextlib import suppress

from archon.proxy.answers import BEAT, Kept, SharedAnswers
from archon.proxy.asgi import App, Event, Receive, Scope, Send, header, refuse
from archon.proxy.idempotency import MAX_ANSWER, replayed_headers, whole

POLL = 0.1
"""Seconds between two looks at a request that another worker runs."""

logger = logging.getLogger("archon.proxy.idempotency")


class SharedIdempotency:
    """Runs a request with an Idempotency-Key unless another worker does or did."""

    def __init__(self, app: App, answers: SharedAnswers) -> None:
        self._app, self._answers = app, answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = header(scope, b"idempotency-key") if scope["type"] == "http" else None
        if not given or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        first = await receive()  # whole: it comes from a flight of this worker
        body_hash = hashlib.sha256(first.get("body", b"")).digest()
        key = scope.get("archon.key")
        name = hashlib.sha256(json.dumps([key.id if key else "", given, scope["path"]]).encode()).hexdigest()
        claim = await self._claimed(name, body_hash, receive)
        if claim == "mine":
            await self._run(name, scope, _again(first, receive), send)
        elif claim == "other body":
            message = "this Idempotency-Key was used with another body; use a new one for a new request"
            await refuse(send, 409, message, code="idempotency_key_reused")
        elif isinstance(claim, Kept):
            headers = replayed_headers(claim.headers)
            await send({"type": "http.response.start", "status": claim.status, "headers": headers})
            await send({"type": "http.response.body", "body": claim.body})

    async def _claimed(self, name: str, body_hash: bytes, receive: Receive) -> Kept | str | None:
        """The claim, once no other worker runs the request; None = the client left before."""
        leaving = asyncio.ensure_future(receive())
        try:
            while not leaving.done():
                try:
                    claim = await asyncio.to_thread(self._answers.claim, name, body_hash)
                except sqlite3.Error as error:
                    logger.error("answers cannot be shared between workers: %s", error)
                    return "mine"
                if claim != "running":
                    return claim
                await asyncio.wait((leaving,), timeout=POLL)
            return None
        finally:
            leaving.cancel()

    async def _run(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        events: list[Event] = []

        async def recorded(event: Event) -> None:
            events.append(event)
            await send(event)

        beating = asyncio.create_task(self._beat(name))
        try:
            await self._app(scope, receive, recorded)
        finally:
            beating.cancel()
            await asyncio.shield(self._close(name, events))

    async def _close(self, name: str, events: list[Event]) -> None:
        body = b"".join(event.get("body", b"") for event in events[1:])
        with suppress(sqlite3.Error):  # the claim goes stale by itself
            if whole(events) and len(body) <= MAX_ANSWER:
                kept = Kept(events[0]["status"], list(events[0].get("headers", ())), body)
                await asyncio.to_thread(self._answers.keep, name, kept)
            else:
                await asyncio.to_thread(self._answers.drop, name)

    async def _beat(self, name: str) -> None:
        while True:
            await asyncio.sleep(BEAT)
            with suppress(sqlite3.Error):
                await asyncio.to_thread(self._answers.beat, name)


def _again(first: Event, receive: Receive) -> Receive:
    """The first event once more, then what comes."""
    waiting = [first]

    async def replay() -> Event:
        return waiting.pop() if waiting else await receive()

    return replay
