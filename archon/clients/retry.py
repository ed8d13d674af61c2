"""Retry: a failure that may pass is tried again after a jittered wait, a bounded number of times.

Waits are "full jitter" (uniform between 0 and a bound that doubles), as in Brooker, "Exponential Backoff And Jitter",
AWS Architecture Blog 2015. What the upstream asks for (Retry-After) is a lower bound on the wait; one longer than two
minutes, or past the deadline, is not waited for. A stream is tried again only while none of it has been passed on.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from archon.clients.wrapper import Wrapper, closed
from archon.errors import RetryableError
from archon.protocols import Client
from archon.types import Chunk, Completion, Request


@dataclass(frozen=True, slots=True)
class Attempt:
    """One failed attempt, told to whoever wants to know."""

    model: str
    number: int
    """1 for the first."""
    error: RetryableError
    wait: float | None
    """Seconds until the next attempt; None = there is none."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often and how long to wait.

    Attributes:
        retries: attempts after the first.
        first: bound on the first wait, seconds; doubles with every further one.
        longest: bound on any wait, seconds.
        patience: longest Retry-After that is waited for, seconds.
        rng: source of the jitter; it changes when calls are made, never what they are.
    """

    retries: int = 4
    first: float = 0.5
    longest: float = 30.0
    patience: float = 120.0
    rng: random.Random = field(default_factory=random.Random)

    def wait(self, number: int, asked: float | None, left: float | None) -> float | None:
        """Seconds to wait after attempt `number`; None = do not try again.

        Args:
            asked: the upstream's Retry-After, seconds.
            left: seconds until the deadline; None = there is none.
        """
        jitter = self.rng.uniform(0, min(self.longest, self.first * 2 ** min(number - 1, 30)))
        seconds = jitter if asked is None else asked + min(jitter, self.first)
        too_long = (asked or 0) > self.patience or (left is not None and seconds >= left)
        return None if number > self.retries or too_long else seconds


class Retrying(Wrapper):
    """Tries again what may pass.

    Args:
        who: the model, for reports.
        deadline: monotonic time after which no attempt starts.
        on_attempt: told of every failed attempt.
        sleep: replaced in tests.
    """

    def __init__(
        self,
        inner: Client,
        backoff: Backoff,
        who: str = "",
        deadline: float | None = None,
        on_attempt: Callable[[Attempt], None] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(inner)
        self._backoff = backoff
        self._who = who
        self._deadline = deadline
        self._on_attempt = on_attempt
        self._sleep = sleep

    async def complete(self, request: Request) -> Completion:
        """The first answer. Raises the last failure, with the number of attempts in its text."""
        number = 1
        while True:
            try:
                return await self._inner.complete(request)
            except RetryableError as error:
                await self._pause(number, error)
            number += 1

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The first stream that starts."""
        number = 1
        while True:
            begun = False
            pieces = self._inner.stream(request)
            try:
                async for chunk in pieces:
                    begun = True
                    yield chunk
                return
            except RetryableError as error:
                if begun:
                    raise
                await self._pause(number, error)
            finally:
                await closed(pieces)
            number += 1

    async def _pause(self, number: int, error: RetryableError) -> None:
        """Waits before the next attempt, or raises where there is none."""
        left = None if self._deadline is None else self._deadline - time.monotonic()
        seconds = self._backoff.wait(number, error.retry_after, left)
        if self._on_attempt:
            self._on_attempt(Attempt(self._who, number, error, seconds))
        if seconds is None:
            raise _final(error, number) from error
        await self._sleep(seconds)


def _final(error: RetryableError, attempts: int) -> RetryableError:
    text = f"{error} ({attempts} attempts)" if attempts > 1 else str(error)
    return RetryableError(text, status=error.status, retry_after=error.retry_after, billed=error.billed)
