"""The one place where clients are put together.

    guard → defaults → cache → retry → limit → budget → timeout → transport

One transport and one limiter a model, one store and one set of calls under way for all: every client opened here shares
them. A wrapper that would do nothing is left out. Answers that are on disk already (`recorded` transports) are
neither cached nor retried.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from archon.budget import Budget
from archon.clients.attempt import Timed
from archon.clients.budget import Budgeted
from archon.clients.cache import Cached
from archon.clients.defaults import WithDefaults
from archon.clients.flight import Flights
from archon.clients.guard import Guarded
from archon.clients.key import upstream_identity
from archon.clients.limit import Limited, Limiter
from archon.clients.price import price_of
from archon.clients.retry import Attempt, Backoff, Retrying
from archon.clients.secret import quoting_secret
from archon.clients.store import CacheStore
from archon.clients.wrapper import Shared
from archon.errors import ConfigError
from archon.models import ModelSpec, ModelTable, PriceSpec
from archon.protocols import Client, PromptPack
from archon.registry import client_class, pack_class
from archon.types import Price

FORCED_MAX_TOKENS = 4096
"""Bound on an answer where a token or USD budget needs one and neither request nor model table sets it."""


@dataclass(frozen=True, slots=True)
class _Model:
    """What all clients of one model share."""

    spec: ModelSpec
    transport: Client
    limiter: Limiter | None
    price: Price | None
    identity: str

    @property
    def recorded(self) -> bool:
        return bool(getattr(self.transport, "recorded", False))


class ClientStack:
    """Clients of the models in a table.

    Args:
        table: the models.
        cache: where answers are kept; None = nowhere. The stack closes it.
        budget: bounds everything made through this stack; a run's own budget should have it as parent.

    Attributes:
        secret: keys the delimiters around quoted candidates; the cache keeps the one it began with.
    """

    def __init__(self, table: ModelTable, *, cache: CacheStore | None = None, budget: Budget | None = None) -> None:
        self._table = table
        self._store = cache
        self._budget = budget
        self._flights = Flights()
        self._jitter = random.Random()  # of all waits: seeding one costs as much as opening a client
        self._models: dict[str, _Model] = {}
        self._packs: dict[str, PromptPack] = {}
        self._resources: dict[str, Any] = {}
        self.secret = cache.secret if cache is not None else quoting_secret()

    @property
    def budget(self) -> Budget | None:
        """The budget of everything made through this stack."""
        return self._budget

    def spec(self, model: str) -> ModelSpec:
        """The model's row in the table. Raises UnknownNameError, which lists the known ones."""
        return self._table[model]

    def pack(self, model: str) -> PromptPack:
        """The model's prompt pack; one a name for the whole stack."""
        name = self.spec(model).pack
        if name not in self._packs:
            self._packs[name] = cast(PromptPack, pack_class(name)(self.secret))
        return self._packs[name]

    def transport(self, model: str) -> Client:
        """The bare transport that all clients of the model share (to look at, as tests do)."""
        return self._model(model).transport

    def limiter(self, model: str) -> Limiter | None:
        """What paces all calls of the model; None = it has no limits."""
        return self._model(model).limiter

    def price(self, model: str) -> Price | None:
        """The model's price, from its row or the published table; None = unknown."""
        return self._model(model).price

    def open(
        self,
        model: str,
        budget: Budget | None = None,
        *,
        on_attempt: Callable[[Attempt], None] | None = None,
        around: Callable[[Client], Client] = lambda client: client,
    ) -> Client:
        """A client for a model. Closing it frees nothing shared; `ClientStack.aclose` does.

        Args:
            budget: of this run, with the stack's as parent; default: the stack's.
            on_attempt: told of every attempt that failed.
            around: wraps every attempt that is really made, as the budget does: inside cache, retry and limit.

        Raises:
            ConfigError: the model's key, endpoint, option or extra is missing or wrong, or a budget in USD meets an
                unknown price; nothing was called.
        """
        shared = self._model(model)
        budget = self._budget if budget is None else budget
        self._check_budget(shared, budget)
        client: Client = Shared(shared.transport)
        client = self._paced(client, shared, budget, on_attempt, around)
        if self._store is not None and not shared.recorded:
            client = Cached(client, self._store, self._flights, shared.identity, shared.price)
        bounded = budget is not None and budget.limits_tokens
        client = WithDefaults(client, shared.spec.max_tokens or (FORCED_MAX_TOKENS if bounded else None))
        return Guarded(client, model, shared.spec.max_answer_chars)

    async def aclose(self) -> None:
        """Closes every transport and the store. Idempotent."""
        models, self._models = self._models, {}
        for shared in models.values():
            await shared.transport.aclose()
        if self._store is not None:
            await self._store.aclose()

    async def __aenter__(self) -> ClientStack:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _paced(
        self,
        client: Client,
        shared: _Model,
        budget: Budget | None,
        on_attempt: Callable[[Attempt], None] | None,
        around: Callable[[Client], Client],
    ) -> Client:
        spec = shared.spec
        if not shared.recorded:
            client = Timed(client, spec.timeout, spec.id)
        if budget is not None:
            client = Budgeted(client, budget, shared.price, spec.id)
        client = around(client)
        if shared.limiter:
            client = Limited(client, shared.limiter)
        if shared.recorded or not spec.retries:
            return client
        deadline = budget.deadline if budget else None
        return Retrying(client, Backoff(spec.retries, rng=self._jitter), spec.id, deadline, on_attempt)

    def _check_budget(self, shared: _Model, budget: Budget | None) -> None:
        if budget is not None and self._budget is not None and not budget.within(self._budget):
            raise ConfigError("a run's budget must have the stack's as parent: Budget(…, parent=stack.budget)")
        if budget is not None and budget.limits_usd and shared.price is None:
            raise ConfigError(
                f"model {shared.spec.id!r}: its price is unknown, so a budget in USD cannot hold; add "
                "`price: {prompt: …, completion: …}` (US dollars per million tokens) to its row in the model table"
            )

    def _model(self, model: str) -> _Model:
        if model not in self._models:
            self._models[model] = self._built(self.spec(model))
        return self._models[model]

    @staticmethod
    def _class(spec: ModelSpec) -> Any:
        try:
            return client_class(spec.client)
        except ConfigError as error:
            raise ConfigError(f"model {spec.id!r}: {error}") from None

    def _built(self, spec: ModelSpec) -> _Model:
        cls = self._class(spec)
        price = price_of(spec, self._resources)
        listed = PriceSpec(prompt=price.prompt, completion=price.completion) if price else None
        build = getattr(cls, "from_stack", None)
        row = spec.model_copy(update={"price": listed})
        transport: Client = build(row, self._resources) if build else cls.from_spec(row)
        limited = spec.limits.in_flight is not None or spec.limits.per_minute is not None
        limiter = Limiter(spec.limits.in_flight, spec.limits.per_minute) if limited else None
        neutral = frozenset(getattr(cls, "neutral_options", ()))
        identity = upstream_identity(spec, neutral, str(getattr(transport, "fingerprint", "")))
        return _Model(spec, transport, limiter, price, identity)
