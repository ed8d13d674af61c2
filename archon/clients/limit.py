"""Limit: no more calls at once, and no more a minute, than the model's provider allows. First come, first served."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from archon.clients.wrapper import Wrapper, closed
from archon.protocols import Client
from archon.types import Chunk, Completion, Request

_WINDOW = 60.0


class Limiter:
    """What all clients of one model share.

    Args:
        in_flight: calls under way at once; None = any number.
        per_minute: calls started in any 60 seconds; None = any number.
        clock, sleep: replaced in tests.
    """

    def __init__(
        self,
        in_flight: int | None = None,
        per_minute: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._in_flight = in_flight
        self._per_minute = per_minute
        self._clock = clock
        self._sleep = sleep
        self._starts: deque[float] = deque(maxlen=per_minute)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots = asyncio.Semaphore(0)
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Room for one call; waits for it."""
        self._attach()
        async with self._slots:
            if self._per_minute is not None:
                await self._started()
            yield

    def _attach(self) -> None:
        """Makes semaphore and lock anew for a new event loop: they belong to the loop that waits on them."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._slots = asyncio.Semaphore(self._in_flight or 1_000_000_000)
            self._turn = asyncio.Lock()

    async def _started(self) -> None:
        """Waits until one more start is allowed, and notes it. The lock keeps the order of arrival."""
        async with self._turn:
            while len(self._starts) == self._starts.maxlen and (wait := self._starts[0] + _WINDOW - self._clock()) > 0:
                await self._sleep(wait)
            self._starts.append(self._clock())


class Limited(Wrapper):
    """Makes a call when the limiter has room for it."""

    def __init__(self, inner: Client, limiter: Limiter) -> None:
        super().__init__(inner)
        self._limiter = limiter

    async def complete(self, request: Request) -> Completion:
        """See `archon.protocols.Client.complete`."""
        async with self._limiter.slot():
            return await self._inner.complete(request)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """Holds its slot until the stream ends or is no longer read."""
        async with self._limiter.slot():
            pieces = self._inner.stream(request)
            try:
                async for chunk in pieces:
                    yield chunk
            finally:
                await closed(pieces)
