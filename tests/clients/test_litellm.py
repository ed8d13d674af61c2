"""The litellm client: what it asks of litellm and what it makes of its answers and errors.

litellm is an extra: here a stand-in with its interface (acompletion, its exception classes) is imported in its place.
Where the real one is installed, the contract suite runs on it as well.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from archon.clients.litellm import LiteLLMClient
from archon.errors import (
    AuthError,
    ClientError,
    ConfigError,
    ContextOverflowError,
    MissingExtraError,
    RequestError,
    RetryableError,
)
from archon.models import ModelSpec
from archon.types import Request, Sampling, user

ASKED = Request((user("what is the answer?"),), Sampling(max_tokens=9), seed=7)
USAGE = {"prompt_tokens": 5, "completion_tokens": 2}


class StatusError(Exception):
    """As litellm's: a message, a status, the upstream's headers."""

    def __init__(self, message: str, status_code: Any = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        if status_code is not None:
            self.status_code = status_code
        self.litellm_response_headers = headers


class Piece(SimpleNamespace):
    """A pydantic-like object."""

    def model_dump(self) -> dict[str, Any]:
        return vars(self)


class StandIn(ModuleType):
    """litellm, as far as the client uses it."""

    ContextWindowExceededError = type("ContextWindowExceededError", (StatusError,), {})
    Timeout = type("Timeout", (StatusError,), {})
    APIConnectionError = type("APIConnectionError", (StatusError,), {})

    def __init__(self) -> None:
        super().__init__("litellm")
        self.telemetry = True
        self.asked: list[dict[str, Any]] = []
        self.answer: Callable[[], Any] = lambda: _whole("42")
        self.closed = 0

    async def acompletion(self, **arguments: Any) -> Any:
        self.asked.append(arguments)
        return self.answer()

    async def close_litellm_async_clients(self) -> None:
        self.closed += 1


def _whole(text: str) -> Piece:
    message = {"role": "assistant", "content": text, "provider_specific_fields": {"refusal": None}}
    return Piece(id="c-1", choices=[{"message": message, "finish_reason": "stop"}], usage=USAGE)


@pytest.fixture
def litellm(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "litellm", stand_in)
    monkeypatch.delenv("LITELLM_LOCAL_MODEL_COST_MAP", raising=False)
    return stand_in


def client(**row: Any) -> LiteLLMClient:
    return LiteLLMClient.from_spec(
        ModelSpec.model_validate({"id": "m", "client": "litellm", "name": "anthropic/claude", **row})
    )


async def test_it_asks_for_one_plain_attempt_with_telemetry_and_prints_off(
    litellm: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "key-1234")
    got = await client(key_env="SOME_KEY", endpoint="https://proxy/v1", price={"prompt": 1, "completion": 2}).complete(
        ASKED
    )
    assert (got.text, got.message.extra) == ("42", {})
    assert got.usage.cost_usd == pytest.approx(9e-6)  # 5 × 1 + 2 × 2 micro-dollars
    asked = litellm.asked[0]
    assert asked["model"] == "anthropic/claude"
    assert (asked["num_retries"], asked["max_retries"], asked["max_tokens"]) == (0, 0, 9)
    assert (asked["api_key"], asked["api_base"], "seed" in asked) == ("key-1234", "https://proxy/v1", False)
    assert (litellm.telemetry, litellm.suppress_debug_info, litellm.drop_params) == (False, True, False)


def test_what_a_budget_would_not_see_is_not_passed_on(litellm: StandIn) -> None:
    with pytest.raises(ConfigError, match=r"options.arguments may not set 'n'"):
        client(options={"arguments": {"n": 5}})


async def test_options_and_seed_are_passed_on(litellm: StandIn) -> None:
    asking = client(send_seed=True, options={"arguments": {"aws_region_name": "eu"}})
    await asking.complete(ASKED)
    assert (litellm.asked[0]["seed"], litellm.asked[0]["aws_region_name"]) == (7, "eu")
    assert "seed" in asking.capabilities
    await asking.aclose()
    await asking.aclose()
    assert litellm.closed == 2  # closing litellm's clients twice is harmless


async def _stream(*events: dict[str, Any]) -> AsyncIterator[Piece]:
    for event in events:
        yield Piece(**event)


def _delta(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"id": "c-1", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


async def test_a_stream_is_assembled(litellm: StandIn) -> None:
    litellm.answer = lambda: _stream(_delta("4"), _delta("2", "stop"), {"choices": [], "usage": USAGE})
    chunks = [chunk async for chunk in client().stream(ASKED)]
    assert [chunk.text for chunk in chunks] == ["4", "2", ""]
    assert chunks[-1].completion is not None
    assert (chunks[-1].completion.text, chunks[-1].completion.usage.tokens) == ("42", 7)
    assert (litellm.asked[0]["stream"], litellm.asked[0]["stream_options"]) == (True, {"include_usage": True})


async def test_a_stream_that_breaks_off_is_a_failure(litellm: StandIn) -> None:
    litellm.answer = lambda: _stream(_delta("4"))
    with pytest.raises(RetryableError, match="broke off"):
        [chunk async for chunk in client().stream(ASKED)]


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (StandIn.ContextWindowExceededError("too long", 400), ContextOverflowError, "too long"),
        (StandIn.Timeout("late", 408), RetryableError, "Timeout: late"),
        (StandIn.APIConnectionError("gone", 500), RetryableError, "gone"),
        (StatusError("no", 401), AuthError, "401: no"),
        (StatusError("no", 404), RequestError, "404: no"),
        (StatusError("slow", 429, {"retry-after": "3"}), RetryableError, "429: slow"),
        (ValueError("a bug in\nan SDK"), ClientError, "ValueError: a bug in an SDK"),
    ],
)
async def test_its_errors_become_ours(litellm: StandIn, error: Exception, kind: type[ClientError], words: str) -> None:
    def fail() -> Any:
        raise error

    litellm.answer = fail
    for way in (client().complete(ASKED), anext(client().stream(ASKED))):
        with pytest.raises(ClientError) as failed:
            await way
        assert type(failed.value) is kind
        assert words in str(failed.value)
        assert failed.value.__cause__ is error
        assert failed.value.retry_after == (3.0 if "slow" in words else None)


async def test_an_error_that_tells_the_key_or_the_prompt_is_not_passed_on(
    litellm: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "canary-key-1234")

    def fail() -> Any:
        raise StatusError("bad key canary-key-1234 for 'what is the answer?'", 401)

    litellm.answer = fail
    with pytest.raises(AuthError) as failed:
        await client(key_env="SOME_KEY").complete(ASKED)
    assert str(failed.value) == "model 'm' at anthropic: 401: bad key [key] for '[prompt]'"
    assert failed.value.__cause__ is None


def test_without_litellm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litellm", None)
    with pytest.raises(MissingExtraError, match=r"\[litellm\]"):
        client()


def test_without_its_key_the_variable_is_named(litellm: StandIn) -> None:
    with pytest.raises(ConfigError, match="NO_SUCH_VARIABLE"):
        client(key_env="NO_SUCH_VARIABLE")
