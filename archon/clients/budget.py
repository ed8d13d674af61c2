"""Budget: reserves a call's worst case before it is made and settles it after.

It stands inside retry, so every attempt is counted, and outside the timeout, so a timed-out attempt keeps its worst
case.
"""

from __future__ import annotations

import time
from asyncio import timeout
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from archon.budget import Budget, Reservation
from archon.clients.bounds import Bound, message_bound, worst_case
from archon.clients.wrapper import Wrapper, closed
from archon.errors import ClientError, DeadlineError
from archon.protocols import Client
from archon.types import Chunk, Completion, Message, Price, Request, Sampling, TokenLogprob, Usage


class Budgeted(Wrapper):
    """Makes a call only when the budget holds its worst case.

    Args:
        price: of the model; None = unknown, which a budget in USD refuses.
        who: the model, for messages.
    """

    def __init__(self, inner: Client, budget: Budget, price: Price | None, who: str) -> None:
        super().__init__(inner)
        self._budget = budget
        self._price = price
        self._who = who
        self._bounded = budget.limits_tokens
        self._counts = "count_tokens" in inner.capabilities

    async def complete(self, request: Request) -> Completion:
        """The answer. Raises BudgetError when there is no room for it, DeadlineError when the seconds are over."""
        async with self._paid(self._bound(request)) as reservation, timeout(self._seconds()):
            completion = await self._inner.complete(request)
            self._settle(reservation, completion)
            return completion

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The answer in pieces; settled by the last, kept at its worst case where the stream is not read to its end."""
        async with self._paid(self._bound(request)) as reservation:
            pieces = self._inner.stream(request)
            try:
                while True:
                    async with timeout(self._seconds()):
                        chunk = await anext(pieces, None)
                    if chunk is None:
                        return
                    if chunk.completion is not None:
                        self._settle(reservation, chunk.completion)
                    yield chunk
            finally:
                await closed(pieces)

    async def score(self, messages: tuple[Message, ...], continuation: str) -> tuple[TokenLogprob, ...]:
        """Scores a continuation; billed at its bound, because a scoring call reports no usage."""
        text = len(continuation.encode(errors="replace"))
        tokens = text + (self.count_tokens(messages) if self._counts else sum(map(message_bound, messages)))
        usage = Usage(1, tokens, cost_usd=self._price.cost(tokens, 0) if self._price else None)
        bound = worst_case(Request((), Sampling(max_tokens=1)), self._price, tokens)
        async with self._paid(bound) as reservation, timeout(self._seconds()):
            result = await super().score(messages, continuation)
            reservation.settle(usage)
            return result

    def _bound(self, request: Request) -> Bound:
        if not self._bounded:
            return Bound(0, 0 if self._price else None)
        return worst_case(request, self._price, self.count_tokens(request.messages) if self._counts else None)

    @asynccontextmanager
    async def _paid(self, bound: Bound) -> AsyncIterator[Reservation]:
        """Reserves; on the way out an unsettled reservation is settled at nothing where that is certain, else kept."""
        reservation = await self._budget.reserve(1, bound.tokens, bound.micro_usd, f"a call of {self._who!r}")
        try:
            yield reservation
        except TimeoutError:
            raise DeadlineError(f"model {self._who!r}: the seconds of the budget ended during the call") from None
        except ClientError as error:
            if error.billed is False:
                reservation.settle(Usage(calls=1))
            raise
        finally:
            reservation.keep()

    def _settle(self, reservation: Reservation, completion: Completion) -> None:
        """Settles by the reported usage; one that reports no prompt reports nothing, so the worst case is kept."""
        if completion.usage.prompt_tokens > 0 or not self._bounded:
            reservation.settle(completion.usage)

    def _seconds(self) -> float | None:
        deadline = self._budget.deadline
        return None if deadline is None else max(0.0, deadline - time.monotonic())
