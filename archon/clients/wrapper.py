"""The base of all wrappers: a client that holds a client and passes on what it does not change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

from archon.errors import RequestError
from archon.protocols import Client
from archon.types import Chunk, Completion, Message, Request, TokenLogprob


class Wrapper:
    """Passes every call on to `inner`; subclasses override what they are about."""

    def __init__(self, inner: Client) -> None:
        self._inner = inner

    @property
    def capabilities(self) -> frozenset[str]:
        """What the wrapped client can do."""
        return self._inner.capabilities

    async def complete(self, request: Request) -> Completion:
        """See `archon.protocols.Client.complete`."""
        return await self._inner.complete(request)

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """See `archon.protocols.Client.stream`."""
        return self._inner.stream(request)

    async def score(self, messages: tuple[Message, ...], continuation: str) -> tuple[TokenLogprob, ...]:
        """Log-probabilities of a given continuation, where the capability "score" is declared."""
        if "score" not in self.capabilities:
            raise RequestError("this model cannot score a given text; use one whose client declares 'score'")
        return cast("tuple[TokenLogprob, ...]", await cast(Any, self._inner).score(messages, continuation))

    def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Tokens of a prompt, where the capability "count_tokens" is declared."""
        return int(cast(Any, self._inner).count_tokens(messages))

    async def aclose(self) -> None:
        """Closes the wrapped client."""
        await self._inner.aclose()


class Shared(Wrapper):
    """A transport that several stacks use: closing one of them leaves it open for the others."""

    async def aclose(self) -> None:
        """Does nothing: the transport belongs to the `ClientStack`, which closes it."""


async def closed(pieces: AsyncIterator[Chunk]) -> None:
    """Ends a stream that is no longer read, so that its connection is freed now and not when it is collected."""
    close = getattr(pieces, "aclose", None)
    if close is not None:
        await close()


async def whole(completion: Completion) -> AsyncIterator[Chunk]:
    """A finished answer as a stream: its text, its tool calls, then the completion."""
    message = completion.message
    if message.text:
        yield Chunk(message.text)
    if message.tool_calls:
        calls = [{"index": index, **call} for index, call in enumerate(message.tool_calls)]
        yield Chunk(delta={"tool_calls": calls})
    yield Chunk(completion=completion)
