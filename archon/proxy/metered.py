"""The ledger around every model call of an architecture: its worst case is held before it and charged after it.

    cache → retry → limit → ledger → budget → transport

Inside the cache, so that a hit costs nothing; inside retry, so that an attempt whose answer was lost is charged its
worst case, and the next one needs room of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from archon.amounts import micro_usd
from archon.budget import Budget
from archon.clients.bounds import Bound, worst_case
from archon.clients.defaults import WithDefaults
from archon.clients.stack import FORCED_MAX_TOKENS, ClientStack
from archon.clients.wrapper import Wrapper, closed
from archon.errors import BudgetError, ClientError, RequestError
from archon.models import ModelSpec
from archon.protocols import Client, PromptPack
from archon.proxy.keys import KeyRecord
from archon.proxy.ledger import Hold, Ledger
from archon.proxy.unmetered import FreeHold, Unmetered
from archon.types import Chunk, Completion, Price, Request


class Metered:
    """A client stack for one request: `archon.context.Clients`.

    Args:
        key: whose budget pays; None = the service is open.
        request_id: for the ledger.
    """

    def __init__(self, stack: ClientStack, ledger: Ledger | Unmetered, key: KeyRecord | None, request_id: str) -> None:
        self._stack = stack
        self._ledger = ledger
        # The request's own arrival was counted when it came; its calls are no further requests.
        self._key = replace(key, requests_per_minute=None) if key else None
        self._request_id = request_id

    def open(self, model: str, budget: Budget | None = None) -> Client:
        """The model's client with the ledger around it."""
        price = self._stack.price(model)
        if self._key is not None and self._key.usd_per_day is not None and price is None:
            raise RequestError(f"model {model!r}: its price is unknown, and this key has a budget in USD", status=403)
        most = self._stack.spec(model).max_tokens or FORCED_MAX_TOKENS
        client = self._stack.open(model, budget, around=lambda inner: _Ledgered(inner, self, price, most))
        return WithDefaults(client, most) if self.bounded else client

    def pack(self, model: str) -> PromptPack:
        """The model's prompt pack."""
        return self._stack.pack(model)

    def spec(self, model: str) -> ModelSpec:
        """The model's row."""
        return self._stack.spec(model)

    @property
    def bounded(self) -> bool:
        """Whether the key has a budget, so that every call needs a bound."""
        key = self._key
        return key is not None and not (key.usd_per_day is None and key.tokens_per_day is None)

    async def hold(self, bound: Bound) -> Hold | FreeHold:
        """Room for one call. Raises QuotaError."""
        key = self._key
        return await self._ledger.reserve(
            key.id if key else None, key, bound.micro_usd or 0, bound.tokens, self._request_id
        )


class _Ledgered(Wrapper):
    def __init__(self, inner: Client, meter: Metered, price: Price | None, max_tokens: int) -> None:
        super().__init__(inner)
        self._meter = meter
        self._price = price
        self._max_tokens = max_tokens

    async def complete(self, request: Request) -> Completion:
        """The answer. Raises QuotaError where the key's day has no room for it."""
        hold = await self._meter.hold(self._bound(request))
        completion: Completion | None = None
        try:
            completion = await self._inner.complete(request)
            return completion
        except ClientError as error:
            completion = _billed(hold, error)
            raise
        finally:
            _settle(hold, completion)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The answer in pieces; charged by the last, at the worst case where it is not read to its end."""
        hold = await self._meter.hold(self._bound(request))
        completion: Completion | None = None
        pieces = self._inner.stream(request)
        try:
            async for chunk in pieces:
                completion = chunk.completion or completion
                yield chunk
        except ClientError as error:
            completion = completion or _billed(hold, error)
            raise
        finally:
            _settle(hold, completion)
            await closed(pieces)

    def _bound(self, request: Request) -> Bound:
        """The worst case; of a call that nothing bounds, and that no budget needs bounded, what can be said of it."""
        bounded = request if request.sampling.max_tokens else _with_max_tokens(request, self._max_tokens)
        count = "count_tokens" in self._inner.capabilities
        try:
            return worst_case(bounded, self._price, self.count_tokens(request.messages) if count else None)
        except BudgetError:
            if self._meter.bounded:
                raise
            return Bound(0, None)


def _billed(hold: Hold | FreeHold, error: ClientError) -> Completion | None:
    """What a failed call is billed by, where it is known; the hold is released where it certainly cost nothing."""
    if error.billed is False:
        hold.release()
    return error.completion


def _settle(hold: Hold | FreeHold, completion: Completion | None) -> None:
    """Charges the reported usage; the worst case where none is reported. A hold that was released stays so."""
    if completion is None:
        hold.settle_worst("no answer came, its bill is unknown")
    elif completion.cached:
        hold.release()
    elif completion.usage.prompt_tokens == 0:
        hold.settle_worst("the upstream reported no usage")
    else:
        usage = completion.usage
        cost = usage.cost_usd
        hold.settle(hold.micro_usd if cost is None else micro_usd(cost), usage.tokens)


def _with_max_tokens(request: Request, bound: int) -> Request:
    return replace(request, sampling=replace(request.sampling, max_tokens=bound))
