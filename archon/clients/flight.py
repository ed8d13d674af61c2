"""Single flight: identical calls under way are made once, and everyone who asked gets the one answer.

The call runs as a task of its own: one waiter's cancellation does not cancel it for the others, the last waiter's does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from archon.types import Completion


class Abandoned(Exception):
    """The one who made the call gave up without an answer (a stream that was no longer read)."""


@dataclass(slots=True)
class _Flight:
    result: asyncio.Future[Completion]
    waiters: int = 0


class Flights:
    """Calls under way, by key."""

    def __init__(self) -> None:
        self._under_way: dict[str, _Flight] = {}

    def __contains__(self, key: str) -> bool:
        flight = self._under_way.get(key)
        return flight is not None and not flight.result.done()  # a finished one leaves the table a moment later

    def __len__(self) -> int:
        return len(self._under_way)

    async def fly(self, key: str, call: Callable[[], Awaitable[Completion]]) -> Completion:
        """Makes the call under `key` as a task and waits for it."""
        task = asyncio.ensure_future(_as_coroutine(call))
        return await self._waited(key, self._started(key, task))

    async def join(self, key: str) -> Completion:
        """Waits for the call under way. Raises its error, or `Abandoned`."""
        return await self._waited(key, self._under_way[key])

    def lead(self, key: str) -> asyncio.Future[Completion]:
        """Says that the caller makes this call itself (a stream); it must set the returned future, or cancel it."""
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._started(key, future)
        return future

    def _started(self, key: str, result: asyncio.Future[Completion]) -> _Flight:
        flight = _Flight(result)
        self._under_way[key] = flight

        def ended(done: asyncio.Future[Completion]) -> None:
            if self._under_way.get(key) is flight:
                del self._under_way[key]
            if not done.cancelled():
                done.exception()  # looked at, so that an error nobody waits for is not reported as lost

        result.add_done_callback(ended)
        return flight

    async def _waited(self, key: str, flight: _Flight) -> Completion:
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.result)
        except asyncio.CancelledError:
            if flight.result.cancelled() and not _being_cancelled():
                raise Abandoned from None
            raise
        finally:
            flight.waiters -= 1
            if flight.waiters == 0 and isinstance(flight.result, asyncio.Task) and not flight.result.done():
                self._under_way.pop(key, None)
                flight.result.cancel()
                await asyncio.wait([flight.result])


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _as_coroutine(call: Callable[[], Awaitable[Completion]]) -> Completion:
    return await call()
