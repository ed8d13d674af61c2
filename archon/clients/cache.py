"""Cache: a call made once is never made again; identical calls under way are made once.

A hit carries the list usage that was recorded when the call was really made, with `cached=True`; its cost follows the
model table's price of today where there is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

from archon.clients.flight import Abandoned, Flights
from archon.clients.key import call_key
from archon.clients.record import from_record, to_record
from archon.clients.store import CacheStore
from archon.clients.wrapper import Wrapper, closed, whole
from archon.errors import BudgetError, DeadlineError
from archon.protocols import Client
from archon.types import Chunk, Completion, Price, Request

__all__ = ["CacheStore", "Cached"]

_NOT_OURS = (Abandoned, BudgetError, DeadlineError)
"""Ends of somebody else's call that say nothing about ours: their budget, their deadline, their loss of interest."""


class Cached(Wrapper):
    """Looks a call up before it makes it, and keeps what it made.

    Args:
        identity: the upstream's name in keys (`archon.clients.key.upstream_identity`).
        flights: calls under way, shared by all clients that share the store.
        price: today's price; None leaves recorded costs as they are.
    """

    def __init__(
        self, inner: Client, store: CacheStore, flights: Flights, identity: str, price: Price | None = None
    ) -> None:
        super().__init__(inner)
        self._store = store
        self._flights = flights
        self._identity = identity
        self._price = price
        self._seeded = "seed" in inner.capabilities

    async def complete(self, request: Request) -> Completion:
        """The stored answer, the answer of an identical call under way, or a new one."""
        key = call_key(self._identity, request, self._seeded)
        return await self._known(key) or await self._flights.fly(key, lambda: self._made(key, request))

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """Like `complete`: a known answer comes in one piece, a new one as the model gives it."""
        key = call_key(self._identity, request, self._seeded)
        known = await self._known(key)
        pieces = whole(known) if known else self._led(key, request)
        try:
            async for chunk in pieces:
                yield chunk
        finally:
            await closed(pieces)

    async def _known(self, key: str) -> Completion | None:
        """The answer from the store or from an identical call under way; None = the caller is to make the call."""
        while (found := self._found(key)) is None and key in self._flights:
            with suppress(*_NOT_OURS):
                return replace(await self._flights.join(key), cached=True)
        return found

    def _found(self, key: str) -> Completion | None:
        record = self._store.get(key)
        if record is None:
            return None
        try:
            completion = from_record(record)
        except ValueError as error:
            self._store.fail(error)
            return None
        if self._price is None:
            return completion
        usage = completion.usage
        cost = self._price.cost(usage.prompt_tokens, usage.completion_tokens)
        return replace(completion, usage=replace(usage, cost_usd=cost))

    async def _made(self, key: str, request: Request) -> Completion:
        completion = await self._inner.complete(request)
        await self._store.put(key, to_record(completion))
        return completion

    async def _led(self, key: str, request: Request) -> AsyncIterator[Chunk]:
        flight = self._flights.lead(key)
        pieces = self._inner.stream(request)
        try:
            async for chunk in pieces:
                if chunk.completion is not None:
                    await self._store.put(key, to_record(chunk.completion))
                    _land(flight, chunk.completion)
                yield chunk
        except Exception as error:
            if not flight.done():
                flight.set_exception(error)
            raise
        finally:
            flight.cancel()
            await closed(pieces)


def _land(flight: asyncio.Future[Completion], completion: Completion) -> None:
    if not flight.done():
        flight.set_result(completion)
