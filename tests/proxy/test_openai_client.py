"""The official Python client, unmodified, against an architecture and a plain model: every form of call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from archon.proxy.settings import Settings
from tests.proxy.serving import Serving, breakdown, fused, system, upstream
from tests.servers import Body, CountingServer, Reply

ARCHITECTURE, PLAIN = "archon/winner", "m"
MODELS = pytest.mark.parametrize("model", [ARCHITECTURE, PLAIN])
MESSAGES: Any = [{"role": "system", "content": "be short"}, {"role": "user", "content": "what is 2 + 2?"}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
    }
]
CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}


class Sum(BaseModel):
    """What `.parse` is asked for."""

    total: int


def answered(body: Body) -> Reply:
    """The upstream: a tool call where tools are offered, JSON where a schema is asked for, else five words."""
    if body.get("tools"):
        return Reply(None, message={"tool_calls": [CALL]}, finish_reason="tool_calls")
    if body.get("response_format"):
        return Reply('{"total": 4}')
    return Reply("the sum is plainly 4")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("served")
    with CountingServer(answered) as counting:
        path = system(folder, "winner", fused(), [upstream(counting.endpoint)])
        with Serving(Settings(files=(path,))) as serving:
            yield serving


@pytest.fixture
def client(server: Serving) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.url, api_key="none", max_retries=0) as made:
        yield made


@MODELS
def test_a_chat_completion(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=MESSAGES)
    assert answer.choices[0].message.content == "the sum is plainly 4"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    # 7 prompt and 3 answer tokens a call; three drafts and a fusion are four calls.
    calls = 4 if model == ARCHITECTURE else 1
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7 * calls, 3 * calls)


def test_an_architecture_tells_calls_by_node(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=ARCHITECTURE, messages=MESSAGES)
    told: Any = (answer.model_extra or {})["archon"]
    assert breakdown(told["nodes"]) == {"drafts": 3, "fused": 1}
    assert told["cost_usd"] == pytest.approx(4 * (7 * 1 + 3 * 2) / 1e6)


@MODELS
def test_the_raw_response_has_id_cost_calls_and_overhead(client: OpenAI, model: str) -> None:
    raw = client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES)
    headers = raw.headers
    assert raw.request_id
    calls = 4 if model == ARCHITECTURE else 1
    assert headers["x-archon-calls"] == str(calls)
    assert float(headers["x-archon-cost-usd"]) == pytest.approx(calls * 13 / 1e6)
    assert headers["x-archon-cache-hits"] == "0"
    assert float(headers["x-archon-overhead-ms"]) >= 0


@MODELS
def test_streaming(client: OpenAI, model: str) -> None:
    pieces = []
    with client.chat.completions.create(
        model=model, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    for chunk in chunks:
        pieces += [choice.delta.content or "" for choice in chunk.choices]
    assert "".join(pieces) == "the sum is plainly 4"
    assert len([piece for piece in pieces if piece]) == 5, "word by word, as the upstream sent it"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == (28 if model == ARCHITECTURE else 7)
    assert all(chunk.usage is None for chunk in chunks[:-1])


@MODELS
def test_a_stream_without_usage_has_a_choice_in_every_chunk(client: OpenAI, model: str) -> None:
    with client.chat.completions.create(model=model, messages=MESSAGES, stream=True) as stream:
        chunks = list(stream)
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


@MODELS
def test_the_streaming_helper(client: OpenAI, model: str) -> None:
    with client.chat.completions.stream(model=model, messages=MESSAGES) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "the sum is plainly 4"


@MODELS
def test_tools(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=MESSAGES, tools=TOOLS, tool_choice="required")
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert answer.choices[0].finish_reason == "tool_calls"
    assert calls[0].model_dump() == CALL
    again: Any = [
        *MESSAGES,
        answer.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": "call_1", "content": "4"},
    ]
    assert client.chat.completions.create(model=model, messages=again).choices[0].message.content


@MODELS
def test_streamed_tools(client: OpenAI, model: str) -> None:
    with client.chat.completions.stream(model=model, messages=MESSAGES, tools=TOOLS) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert (calls[0].function.name, calls[0].function.arguments) == ("add", '{"a": 2}')
    assert final.choices[0].finish_reason == "tool_calls"


@MODELS
def test_parse_with_a_schema(client: OpenAI, model: str) -> None:
    parsed = client.chat.completions.parse(model=model, messages=MESSAGES, response_format=Sum)
    assert parsed.choices[0].message.parsed == Sum(total=4)


@MODELS
def test_text_completions(client: OpenAI, model: str) -> None:
    answer = client.completions.create(model=model, prompt="what is 2 + 2?")
    assert answer.choices[0].text == "the sum is plainly 4"
    with client.completions.create(model=model, prompt="what is 2 + 2?", stream=True) as stream:
        assert "".join(chunk.choices[0].text for chunk in stream) == "the sum is plainly 4"


@MODELS
def test_responses(client: OpenAI, model: str) -> None:
    answer = client.responses.create(model=model, input="what is 2 + 2?", instructions="be short")
    assert answer.output_text == "the sum is plainly 4"
    assert answer.status == "completed"
    assert answer.usage is not None
    assert answer.usage.input_tokens == (28 if model == ARCHITECTURE else 7)


@MODELS
def test_responses_with_tools(client: OpenAI, model: str) -> None:
    tool: Any = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": False}
    answer = client.responses.create(model=model, input="what is 2 + 2?", tools=[tool])
    (call,) = answer.output
    assert call.type == "function_call"
    assert (call.name, call.arguments, call.call_id) == ("add", '{"a": 2}', "call_1")
    given: Any = [
        {"role": "user", "content": "what is 2 + 2?"},
        call.model_dump(),
        {"type": "function_call_output", "call_id": "call_1", "output": "4"},
    ]
    assert client.responses.create(model=model, input=given).output_text == "the sum is plainly 4"


@MODELS
def test_streamed_responses_with_tools(client: OpenAI, model: str) -> None:
    tool: Any = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": False}
    with client.responses.stream(model=model, input="what is 2 + 2?", tools=[tool]) as stream:
        events = list(stream)
        final = stream.get_final_response()
    (call,) = final.output
    assert call.type == "function_call"
    assert (call.name, call.arguments) == ("add", '{"a": 2}')
    assert "response.function_call_arguments.done" in [event.type for event in events]


@MODELS
def test_streamed_responses(client: OpenAI, model: str) -> None:
    with client.responses.create(model=model, input="what is 2 + 2?", stream=True) as stream:
        events = list(stream)
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == "the sum is plainly 4"
    assert len(deltas) == 5
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1].type == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))


@MODELS
def test_the_responses_streaming_helper(client: OpenAI, model: str) -> None:
    with client.responses.stream(model=model, input="what is 2 + 2?") as stream:
        final = stream.get_final_response()
    assert final.output_text == "the sum is plainly 4"


@MODELS
def test_responses_parse_with_a_schema(client: OpenAI, model: str) -> None:
    parsed = client.responses.parse(model=model, input="what is 2 + 2?", text_format=Sum)
    assert parsed.output_parsed == Sum(total=4)


@MODELS
def test_the_async_client(server: Serving, model: str) -> None:
    async def inner() -> tuple[str | None, str, str]:
        async with AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
            whole = await client.chat.completions.create(model=model, messages=MESSAGES)
            stream = await client.chat.completions.create(model=model, messages=MESSAGES, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
            answer = await client.responses.create(model=model, input="what is 2 + 2?")
            return whole.choices[0].message.content, "".join(pieces), answer.output_text

    assert asyncio.run(inner()) == ("the sum is plainly 4",) * 3


def test_models_are_listed_and_looked_up(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [ARCHITECTURE, PLAIN]
    assert client.models.retrieve(ARCHITECTURE).id == ARCHITECTURE
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("archon/loser")


def test_errors_have_openais_classes(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="archon/loser", messages=MESSAGES)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    assert unknown.value.request_id
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model=ARCHITECTURE, messages=MESSAGES, temperature=9)
    assert wrong.value.param == "temperature"
