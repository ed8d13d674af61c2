"""Timeout: one attempt of one call takes so long and no longer.

It stands directly around the transport, so that every wrapper outside sees an ordinary failure that may pass.
"""

from __future__ import annotations

import asyncio
from asyncio import timeout, timeout_at
from collections.abc import AsyncIterator

from archon.clients.wrapper import Wrapper, closed
from archon.errors import RetryableError
from archon.protocols import Client
from archon.types import Chunk, Completion, Request


class Timed(Wrapper):
    """Gives an attempt up after so many seconds; its bill is then unknown.

    Args:
        seconds: for the whole answer, streamed or not.
        who: the model, for messages.
    """

    def __init__(self, inner: Client, seconds: float, who: str) -> None:
        super().__init__(inner)
        self._seconds = seconds
        self._who = who

    async def complete(self, request: Request) -> Completion:
        """The answer. Raises RetryableError when the time is over."""
        try:
            async with timeout(self._seconds):
                return await self._inner.complete(request)
        except TimeoutError as error:
            raise self._late() from error

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The answer in pieces; time the reader spends between them counts as well."""
        end = asyncio.get_running_loop().time() + self._seconds
        pieces = self._inner.stream(request)
        try:
            while (chunk := await self._next(pieces, end)) is not None:
                yield chunk
        finally:
            await closed(pieces)

    async def _next(self, pieces: AsyncIterator[Chunk], end: float) -> Chunk | None:
        try:
            async with timeout_at(end):
                return await anext(pieces, None)
        except TimeoutError as error:
            raise self._late() from error

    def _late(self) -> RetryableError:
        return RetryableError(f"model {self._who!r}: no whole answer within {self._seconds:g} s (timeout)")
