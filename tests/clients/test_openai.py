"""The OpenAI-compatible client against a real server on loopback."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import aiohttp
import pytest

from archon.clients.openai import OpenAIClient
from archon.errors import (
    AuthError,
    ClientError,
    ConfigError,
    ContextOverflowError,
    RequestError,
    RetryableError,
)
from archon.models import ModelSpec, PriceSpec
from archon.types import Chunk, Completion, Message, Request, Sampling, TokenLogprob, user
from tests.servers import CountingServer, Reply

TOOL_CALL = {"id": "call-1", "type": "function", "function": {"name": "add", "arguments": '{"a": 16, "b": 3}'}}
ASKED = Request((user("hello"),))


async def ask(server: CountingServer, request: Request = ASKED, **row: Any) -> Completion:
    client = OpenAIClient(ModelSpec.model_validate({"id": "m", "endpoint": server.endpoint, **row}))
    try:
        return await client.complete(request)
    finally:
        await client.aclose()


async def streamed(server: CountingServer, request: Request = ASKED, **row: Any) -> list[Chunk]:
    client = OpenAIClient(ModelSpec.model_validate({"id": "m", "endpoint": server.endpoint, **row}))
    try:
        return [chunk async for chunk in client.stream(request)]
    finally:
        await client.aclose()


async def test_only_what_was_set_is_sent() -> None:
    with CountingServer() as server:
        await ask(server, name="upstream/name")
        await ask(server, Request((user("hello"),), Sampling(temperature=0.0, stop=("\n",), extra={"min_p": 0.1})))
    plain, full = server.bodies
    assert plain == {"model": "upstream/name", "messages": [{"role": "user", "content": "hello"}]}
    assert full == {**plain, "model": "m", "temperature": 0.0, "stop": ["\n"], "min_p": 0.1}


async def test_messages_tools_and_schema_arrive_whole() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = (
        Message("user", ({"type": "text", "text": "what is this?"}, image), name="ann"),
        Message("assistant", None, tool_calls=(TOOL_CALL,)),
        Message("tool", "19", tool_call_id="call-1", extra={"cache_control": {"type": "ephemeral"}}),
    )
    tools = ({"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}},)
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    with CountingServer() as server:
        await ask(server, Request(messages, tools=tools, tool_choice="auto", response_format=schema))
    body = server.bodies[0]
    assert [Message.from_dict(message) for message in body["messages"]] == list(messages)
    assert (body["tools"], body["tool_choice"], body["response_format"]) == (list(tools), "auto", schema)


async def test_the_answer_is_read_whole() -> None:
    logprobs = {"content": [{"token": "9", "logprob": -0.5, "top_logprobs": [{"token": "9", "logprob": -0.5}]}]}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 64}}
    message = {"tool_calls": [TOOL_CALL], "reasoning_content": "hm", "refusal": None, "annotations": []}
    reply = Reply("9", message=message, finish_reason="tool_calls", usage=usage, logprobs=logprobs)
    with CountingServer(lambda body: reply) as server:
        got = await ask(server, price=PriceSpec(prompt=2, completion=10))
    assert got.message == Message("assistant", "9", tool_calls=(TOOL_CALL,), extra={"reasoning_content": "hm"})
    assert (got.finish_reason, got.model, got.id, got.cached) == ("tool_calls", "m", "c-1", False)
    assert got.logprobs == (TokenLogprob("9", -0.5, (("9", -0.5),)),)
    # 100 × 2 + 10 × 10 = 300 micro-dollars
    assert (got.usage.prompt_tokens, got.usage.completion_tokens, got.usage.cached_tokens) == (100, 10, 64)
    assert got.usage.cost_usd == pytest.approx(300e-6)
    assert got.usage.seconds > 0


async def test_a_usage_that_was_not_reported_has_no_cost_rather_than_zero() -> None:
    with CountingServer(lambda body: Reply("9", usage=None)) as server:
        assert (await ask(server, price=PriceSpec(prompt=2, completion=10))).usage.cost_usd is None


@pytest.mark.parametrize("usage", [(-7, 3), (7, -1000), (7, 10**400), (2**60, 3)])
async def test_a_usage_that_no_call_can_have_is_none(usage: tuple[int, int]) -> None:
    said = Reply("9", usage={"prompt_tokens": usage[0], "completion_tokens": usage[1]})
    with CountingServer(lambda body: said) as server:
        got = await ask(server, price=PriceSpec(prompt=2, completion=10))
    assert got.text == "9"
    assert (got.usage.prompt_tokens, got.usage.completion_tokens, got.usage.cost_usd) == (0, 0, None)


@pytest.mark.parametrize("count", ["many", float("inf"), [3]])
async def test_a_usage_of_another_form_is_an_error_of_ours_in_one_line(count: object) -> None:
    said = Reply("9", usage={"prompt_tokens": 7, "completion_tokens": count})
    with (
        CountingServer(lambda body: said) as server,
        pytest.raises(ClientError, match=r"is not a chat completion \(\w+\)$"),
    ):
        await ask(server)


async def test_a_stream_is_assembled_with_its_tool_calls_and_usage() -> None:
    second = {"id": "call-2", "type": "function", "function": {"name": "mul", "arguments": "{}"}}
    reply = Reply("one two three", message={"tool_calls": [TOOL_CALL, second]}, finish_reason="tool_calls")
    with CountingServer(lambda body: reply) as server:
        chunks = await streamed(server)
    assert [chunk.text for chunk in chunks if chunk.text] == ["one", " two", " three"]
    end = chunks[-1].completion
    assert end is not None
    assert end.message == Message("assistant", "one two three", tool_calls=(TOOL_CALL, second))
    assert (end.finish_reason, end.usage.prompt_tokens, end.usage.completion_tokens) == ("tool_calls", 7, 3)
    assert server.bodies[0]["stream_options"] == {"include_usage": True}


async def test_a_stream_can_be_asked_without_usage() -> None:
    with CountingServer() as server:
        chunks = await streamed(server, options={"include_usage": False})
    assert "stream_options" not in server.bodies[0]
    assert chunks[-1].completion is not None
    assert chunks[-1].completion.usage.prompt_tokens == 0


async def test_a_stream_arrives_as_it_is_made() -> None:
    with CountingServer(lambda body: Reply("one two", between=0.2)) as server:
        client = OpenAIClient(ModelSpec(id="m", endpoint=server.endpoint))
        pieces = client.stream(ASKED)
        first = await anext(pieces)
        assert first.text == "one"
        assert server.under_way == 1  # the server is still at it
        await pieces.aclose()  # type: ignore[attr-defined]
        await client.aclose()


def _stream(*events: Any) -> tuple[bytes, ...]:
    texts = [event if isinstance(event, str) else json.dumps(event, ensure_ascii=False) for event in events]
    return tuple(f"data: {text}\n\n".encode() for text in texts)


def _delta(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


async def test_reasoning_and_logprobs_of_a_stream_are_kept_and_other_choices_left_out() -> None:
    def event(delta: dict[str, Any], index: int = 0, finish: str | None = None) -> dict[str, Any]:
        logprobs = {"content": [{"token": "t", "logprob": -0.5}]} if "content" in delta else None
        return {"choices": [{"index": index, "delta": delta, "finish_reason": finish, "logprobs": logprobs}]}

    events = [
        event({"role": "assistant", "reasoning_content": "let me "}),
        event({"reasoning_content": "think", "refusal": None}),
        event({"content": "n"}),
        event({"content": "not this one"}, index=1),
        event({"content": "ine"}, finish="stop"),
    ]
    with CountingServer(lambda body: Reply(chunks=_stream(*events, "[DONE]"))) as server:
        chunks = await streamed(server)
    got = chunks[-1].completion
    assert got is not None
    assert got.message == Message("assistant", "nine", extra={"reasoning_content": "let me think"})
    assert got.logprobs == (TokenLogprob("t", -0.5), TokenLogprob("t", -0.5))
    assert [chunk.delta.get("reasoning_content") for chunk in chunks[:2]] == ["let me ", "think"]


async def test_any_cut_of_the_bytes_gives_the_same_answer() -> None:
    whole = b": keep-alive\r\n\r\n" + b"".join(_stream(_delta("Müsli — "), _delta("日本", "stop"), "[DONE]"))
    for size in (1, 2, 3, 7, len(whole)):
        chunks = tuple(whole[start : start + size] for start in range(0, len(whole), size))
        with CountingServer(lambda body, chunks=chunks: Reply(chunks=chunks)) as server:  # type: ignore[misc]
            got = (await streamed(server))[-1].completion
        assert got is not None
        assert got.text == "Müsli — 日本"


async def test_an_error_in_the_middle_of_a_stream_is_raised() -> None:
    chunks = _stream(_delta("so"), {"error": {"message": "overloaded", "code": 503}}, _delta(" far", "stop"))
    broken = pytest.raises(RetryableError, match=r"503.*overloaded")
    with CountingServer(lambda body: Reply(chunks=chunks)) as server, broken as failed:
        await streamed(server)
    assert failed.value.billed is None  # tokens were made


@pytest.mark.parametrize("reply", [Reply("a b c", break_after=2), Reply(chunks=_stream(_delta("so"), "[DONE]"))])
async def test_a_stream_that_breaks_off_is_a_failure_and_not_a_short_answer(reply: Reply) -> None:
    with CountingServer(lambda body: reply) as server, pytest.raises(RetryableError):
        await streamed(server)


@pytest.mark.parametrize(
    "event",
    [
        {"choices": ["text"]},
        {"choices": [{"delta": "text"}]},
        {"choices": [{"delta": {"content": [{"type": "text", "text": "x"}]}}]},
        {"choices": [{"delta": {"tool_calls": ["call"]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": "first"}]}}]},
        {"choices": [{"delta": {}, "logprobs": {"content": [{"token": "x"}]}}]},
        {"choices": 3},
        {"usage": {"prompt_tokens": "many"}},
        {"usage": "many"},
    ],
)
async def test_an_event_of_another_form_is_an_error_of_ours_in_one_line(event: dict[str, Any]) -> None:
    chunks = _stream(event, _delta("x", "stop"), "[DONE]")
    with (
        CountingServer(lambda body: Reply(chunks=chunks)) as server,
        pytest.raises(ClientError, match=r"model 'm'.*is not a stream of a chat completion \(\w+\)$"),
    ):
        await streamed(server)


async def test_a_stream_without_done_but_with_its_finish_reason_is_whole() -> None:
    chunks = (b"data: " + json.dumps(_delta("so", "stop")).encode(),)  # not even the closing blank line
    with CountingServer(lambda body: Reply(chunks=chunks)) as server:
        assert (await streamed(server))[0].text == "so"


@pytest.mark.parametrize(
    ("reply", "kind", "billed", "words"),
    [
        (Reply("bad key", status=401), AuthError, False, "401"),
        (Reply("not yours", status=403), AuthError, False, "403"),
        (Reply("no such model", status=404), RequestError, False, "no such model"),
        (Reply("This model's maximum context length is 10", status=400), ContextOverflowError, False, "400"),
        (Reply("slow down", status=429), RetryableError, False, "429"),
        (Reply("oops", status=500), RetryableError, False, "500"),
        (Reply("gone", status=504), RetryableError, None, "504"),
        (Reply("no", status=500, headers={"x-should-retry": "false"}), ClientError, False, "500"),
        (Reply("", status=302, headers={"location": "http://127.0.0.1:1/"}), RequestError, False, "redirects"),
        (Reply(raw=b"<html>", status=502), RetryableError, None, "<html>"),
        (Reply(raw=b'{"detail": "nope"}', status=422), RequestError, False, "nope"),
        (Reply(raw=b'{"error": "flat"}', status=400), RequestError, False, "flat"),
        (Reply(raw=b"<html>"), RetryableError, None, "not JSON"),
        (Reply(raw=b"[]"), ClientError, None, "not a chat completion"),
        (Reply(raw=b'{"choices": []}'), ClientError, None, "not a chat completion"),
        (Reply(raw=b'{"error": {"message": "hidden", "code": "429"}}'), RetryableError, None, "hidden"),
        (Reply(drop=True), RetryableError, None, "connection broke"),
    ],
)
async def test_every_failure_is_one_line_of_its_class(
    reply: Reply, kind: type[ClientError], billed: bool | None, words: str
) -> None:
    with CountingServer(lambda body: reply) as server, pytest.raises(ClientError, match=words) as failed:
        await ask(server)
    assert type(failed.value) is kind
    assert failed.value.billed is billed
    text = str(failed.value)
    assert text.startswith("model 'm' at 127.0.0.1")
    assert "\n" not in text
    assert len(text) < 400


async def test_what_cannot_be_reached_is_certainly_not_billed() -> None:
    with CountingServer() as server:
        endpoint = server.endpoint
    client = OpenAIClient(ModelSpec(id="m", endpoint=endpoint))
    with pytest.raises(RetryableError, match="cannot connect") as failed:
        await client.complete(ASKED)
    await client.aclose()
    assert failed.value.billed is False


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (aiohttp.ConnectionTimeoutError("late"), RetryableError, "cannot connect (ConnectionTimeoutError)"),
        (
            aiohttp.ClientConnectorCertificateError(MagicMock(), ssl.CertificateError("self-signed")),
            ClientError,
            "its TLS certificate is not trusted",
        ),
    ],
)
async def test_a_connection_that_never_stood_is_certainly_not_billed(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[ClientError], words: str
) -> None:
    monkeypatch.setattr(aiohttp.ClientSession, "_request", AsyncMock(side_effect=error))
    client = OpenAIClient(ModelSpec(id="m", endpoint="http://127.0.0.1:1/v1"))
    with pytest.raises(ClientError) as failed:
        await client.complete(ASKED)
    await client.aclose()
    assert (type(failed.value), failed.value.billed) == (kind, False)
    assert words in str(failed.value)


async def test_an_answer_that_would_fill_the_memory_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archon.clients.openai._LARGEST_BODY", 1000)
    large: list[Callable[[dict[str, Any]], Reply]] = [
        lambda body: Reply("x" * 2000),
        lambda body: Reply(chunks=[b": " + b"x" * 2000]),
    ]
    for answer, way in zip(large, (ask, streamed), strict=True):
        with CountingServer(answer) as server, pytest.raises(ClientError, match="larger than"):
            await way(server)


async def test_connections_are_reused() -> None:
    with CountingServer() as server:
        client = OpenAIClient(ModelSpec(id="m", endpoint=server.endpoint))
        for _ in range(5):
            await client.complete(ASKED)
        pool = client._session.connector if client._session else None
        assert pool is not None
        assert sum(len(idle) for idle in pool._conns.values()) == 1
        await client.aclose()


def test_one_client_serves_one_event_loop_after_another() -> None:
    with CountingServer() as server:
        client = OpenAIClient(ModelSpec(id="m", endpoint=server.endpoint))

        async def once() -> str:
            text = (await client.complete(ASKED)).text
            await client.aclose()
            return text

        assert [asyncio.run(once()), asyncio.run(once())] == ["ok", "ok"]


async def test_key_headers_query_and_body_of_the_row_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", " key-1234 ")
    monkeypatch.setenv("SOME_OTHER", "key-5678")
    options = {
        "headers": {"X-Title": "t"},
        "header_env": {"X-Secret": "SOME_OTHER"},
        "query": {"api-version": "1"},
        "body": {"top_k": 5, "temperature": 1.0},
        "max_tokens_field": "max_completion_tokens",
    }
    with CountingServer() as server:
        asked = Request((user("x"),), Sampling(temperature=0.5, max_tokens=9))
        await ask(server, asked, key_env="SOME_KEY", options=options)
        await ask(server, key_env="SOME_KEY", options={"key_header": "api-key"})
    first, second = server.headers
    assert (first["Authorization"], first["X-Title"], first["X-Secret"]) == ("Bearer key-1234", "t", "key-5678")
    assert (second["api-key"], "Authorization" in second) == ("key-1234", False)
    body = server.bodies[0]
    assert (body["top_k"], body["temperature"], body["max_completion_tokens"]) == (5, 0.5, 9)
    assert "max_tokens" not in body


async def test_the_seed_is_sent_where_the_row_says_so_and_declared() -> None:
    seeded = Request((user("x"),), seed=2**40 + 5)
    with CountingServer() as server:
        await ask(server, seeded)
        await ask(server, seeded, send_seed=True)
        client = OpenAIClient(ModelSpec(id="m", endpoint=server.endpoint, send_seed=True))
    assert "seed" not in server.bodies[0]
    assert server.bodies[1]["seed"] == 5  # the low 31 bits of 2**40 + 5
    assert "seed" in client.capabilities


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "endpoint: none is given"),
        ({"endpoint": "localhost:8000/v1"}, "not an http"),
        ({"endpoint": "http://[::1"}, "not an http"),
        ({"endpoint": "http://u:p@host/v1"}, "do not belong in the URL"),
        ({"endpoint": "http://host/v1?key=1"}, "do not belong in the URL"),
        ({"endpoint": "http://host/v1", "key_env": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE is not set"),
        ({"endpoint": "http://host/v1", "options": {"header_env": {"X": "NO_SUCH_VARIABLE"}}}, "NO_SUCH_VARIABLE"),
        ({"endpoint": "http://host/v1", "options": {"tiemout": 3}}, "unknown option 'tiemout'"),
        ({"endpoint": "http://host/v1", "options": {"connections": -1}}, "connections"),
        ({"endpoint": "http://host/v1", "key_env": "sk-live-1234"}, "not a key"),
        ({"endpoint": "http://host/v1", "options": {"body": {"n": 3}}}, "options.body may not set 'n'"),
        ({"endpoint": "http://host/v1", "options": {"body": {"max_tokens": 9}}}, "use the row's `max_tokens`"),
    ],
)
def test_a_wrong_row_is_one_line_that_names_model_and_remedy(row: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match="model 'm'") as wrong:
        OpenAIClient(ModelSpec.model_validate({"id": "m", **row}))
    assert words in str(wrong.value)
    assert "\n" not in str(wrong.value)
    assert "sk-live" not in str(wrong.value)


def test_the_proxy_of_the_environment_is_used_and_its_exceptions_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert OpenAIClient(ModelSpec(id="m", endpoint="http://outside.example/v1"))._proxy == "http://proxy:3128"
    assert OpenAIClient(ModelSpec(id="m", endpoint="http://inside.example/v1"))._proxy is None
