"""Answer checks: an empty answer without tool calls, or one that is far too long, is a failed draw and not an answer.

The guard stands outside the cache: the draw stays the same draw when it is repeated, and is not paid for again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from archon.clients.wrapper import Wrapper, closed
from archon.errors import ClientError
from archon.protocols import Client
from archon.types import Chunk, Completion, Message, Request, Usage

_UNKNOWN = Usage(calls=1, cost_usd=None)
"""Usage of a call that was cut off: its tokens were billed, nobody has said how many."""


class Guarded(Wrapper):
    """Turns unusable answers into errors that say what is wrong with them.

    Args:
        who: the model, for messages.
        max_chars: longest usable answer, characters.
    """

    def __init__(self, inner: Client, who: str, max_chars: int) -> None:
        super().__init__(inner)
        self._who = who
        self._max_chars = max_chars

    async def complete(self, request: Request) -> Completion:
        """The answer. Raises ClientError where it is empty or too long."""
        completion = await self._inner.complete(request)
        self._check(completion)
        return completion

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The answer in pieces. Raises ClientError as soon as it is too long, or at the end where it is empty."""
        length = 0
        pieces = self._inner.stream(request)
        try:
            async for chunk in pieces:
                if chunk.completion is not None:
                    self._check(chunk.completion)
                length += len(chunk.text)
                if length > self._max_chars:
                    raise await self._cut(pieces)
                yield chunk
        finally:
            await closed(pieces)

    async def _cut(self, pieces: AsyncIterator[Chunk]) -> ClientError:
        """The error of an answer that is given up: with its bill where the next piece has it, else at unknown cost."""
        rest = await anext(pieces, None)
        known = rest.completion if rest else None
        given_up = Completion(Message("assistant"), self._who, _UNKNOWN, "length")
        return self._unusable(self._too_long(), known or given_up)

    def _check(self, completion: Completion) -> None:
        message = completion.message
        if not message.tool_calls and not message.text.strip():
            reason = "" if completion.finish_reason == "stop" else f" (finish reason: {completion.finish_reason})"
            raise self._unusable(f"model {self._who!r}: the answer is empty{reason}", completion)
        if len(message.text) > self._max_chars:
            raise self._unusable(self._too_long(), completion)

    def _too_long(self) -> str:
        return f"model {self._who!r}: the answer is longer than {self._max_chars:,} characters (max_answer_chars)"

    def _unusable(self, text: str, completion: Completion) -> ClientError:
        bare = replace(completion, message=Message("assistant", None), logprobs=None)
        return ClientError(text, billed=True, completion=bare)
