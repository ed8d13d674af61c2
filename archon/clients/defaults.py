"""What a model's row in the table adds to every request, and what no request may ask of a client.

It stands outside the cache, so that the cache's key holds what is really sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from archon.clients.wrapper import Wrapper
from archon.errors import RequestError
from archon.protocols import Client
from archon.types import Chunk, Completion, Request, Sampling

FORM = frozenset(
    ["messages", "model", "n", "best_of", "stream", "stream_options", "seed", "tools", "functions", "response_format"]
)
"""Body fields that neither `Sampling.extra` nor a row's options may set: they would change how many answers come back
or in which form, or lengthen the prompt past the bound that a budget reserves."""


class WithDefaults(Wrapper):
    """Fills in `max_tokens` where a request leaves it open.

    Args:
        max_tokens: the bound to set; None = leave it open.
    """

    def __init__(self, inner: Client, max_tokens: int | None) -> None:
        super().__init__(inner)
        self._base = None if max_tokens is None else Sampling(max_tokens=max_tokens)

    async def complete(self, request: Request) -> Completion:
        """See `archon.protocols.Client.complete`."""
        return await self._inner.complete(self._filled(request))

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """See `archon.protocols.Client.stream`."""
        return self._inner.stream(self._filled(request))

    def _filled(self, request: Request) -> Request:
        extra = request.sampling.extra
        for name in extra:
            if name in FORM:
                why = "it belongs to the request, and several answers are drawn as samples"
                raise RequestError(f"sampling may not set {name!r}: {why}", billed=False)
        bounded = request.sampling.max_tokens is not None or not extra.keys().isdisjoint(TOKEN_BOUNDS)
        if self._base is None or bounded:
            return request
        return replace(request, sampling=request.sampling.over(self._base))


TOKEN_BOUNDS = ("max_tokens", "max_completion_tokens")
"""Body fields that bound an answer's tokens."""
