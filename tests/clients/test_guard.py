"""An empty or endless answer is no answer."""

from __future__ import annotations

import pytest

from archon.clients.guard import Guarded
from archon.errors import ClientError
from archon.types import Completion, Message
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
