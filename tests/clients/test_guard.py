"""An empty or endless answer is no answer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from archon.clients.guard import Guarded
from archon.clients.wrapper import Wrapper, whole
from archon.errors import ClientError
from archon.types import Chunk, Completion, Message, Request, Usage
from tests.clients.fakes import ASKED, OPEN, fake, text


@pytest.mark.parametrize(("answer", "words"), [("", "is empty"), (" \n", "is empty"), ("x" * 101, "longer than 100")])
async def test_an_unusable_answer_is_an_error_with_its_usage_and_no_text(answer: str, words: str) -> None:
    client = Guarded(fake([answer]), "m", 100)
    with pytest.raises(ClientError, match=words) as failed:
        await client.complete(OPEN)
    completion = failed.value.completion
    assert isinstance(completion, Completion)
    assert completion.usage.calls == 1
    assert completion.message == Message("assistant", None)
    with pytest.raises(ClientError, match=words):
        await text(client.stream(OPEN))


async def test_an_empty_answer_with_tool_calls_is_an_answer() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    client = Guarded(fake([{"content": None, "tool_calls": [call]}]), "m", 100)
    assert (await client.complete(ASKED)).message.tool_calls == (call,)


async def test_a_stream_that_grows_too_long_is_ended_at_once() -> None:
    model = fake(["x" * 4000], token_latency=0.001)
    seen = 0

    async def read() -> None:
        nonlocal seen
        async for chunk in Guarded(model, "m", 100).stream(OPEN):
            seen += len(chunk.text)

    with pytest.raises(ClientError, match="longer than 100"):
        await read()
    assert seen <= 100
    assert model.in_flight == 0


async def test_a_stream_cut_for_its_length_is_a_call_of_unknown_cost_and_of_known_cost_where_it_was_whole() -> None:
    with pytest.raises(ClientError, match="longer than 100") as cut:
        await text(Guarded(fake(["x " * 400]), "m", 100).stream(OPEN))
    assert cut.value.completion is not None
    assert cut.value.completion.usage == Usage(calls=1, cost_usd=None)

    class Kept(Wrapper):
        """A cache's hit: the whole text, then the completion."""

        def stream(self, request: Request) -> AsyncIterator[Chunk]:
            usage = Usage(calls=1, completion_tokens=400, cost_usd=0.5)
            return whole(Completion(Message("assistant", "x" * 400), "m", usage, cached=True))

    with pytest.raises(ClientError, match="longer than 100") as kept:
        await text(Guarded(Kept(fake(["x"])), "m", 100).stream(OPEN))
    assert kept.value.completion is not None
    assert (kept.value.completion.usage.cost_usd, kept.value.completion.cached) == (0.5, True)
