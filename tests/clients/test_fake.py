"""The fake model does the same under any concurrency."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from archon.clients.fake import FakeClient
from archon.errors import AuthError, ClientError, ConfigError, ContextOverflowError, RequestError, RetryableError
from archon.models import ModelSpec
from archon.types import Completion, Message, Request, Sampling, assistant, user

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def fake(price: Any = None, context: int | None = None, **options: Any) -> FakeClient:
    return FakeClient.from_spec(ModelSpec(id="m", client="fake", price=price, context=context, options=options))


def ask(text: str = "2 + 2 = ?", sample: int = 0, **fields: Any) -> Request:
    return Request((user(text),), sample=sample, **fields)


def by_function(request: Request) -> str:
    return f"{len(request.messages)} message, sample {request.sample}"


def nonsense(request: Request) -> Any:
    return 42


@pytest.mark.parametrize(
    ("answers", "sample", "text"),
    [
        (["a", "b"], 0, "a"),
        (["a", "b"], 3, "b"),
        ({"2 + 2": "4", "": "?"}, 0, "4"),
        ({"3 + 3": "6", "": ["x", "y"]}, 1, "y"),
        ({"3 + 3": "6"}, 0, ""),
        ("tests.clients.test_fake:by_function", 2, "1 message, sample 2"),
        ([{"content": "wire"}], 0, "wire"),
    ],
)
async def test_answers_by_list_mapping_and_function(answers: Any, sample: int, text: str) -> None:
    assert (await fake(answers=answers).complete(ask(sample=sample))).text == text


async def test_without_a_script_draws_differ_and_repeat() -> None:
    texts = [(await fake().complete(ask(sample=number))).text for number in (0, 1, 0)]
    assert texts[0] == texts[2] != texts[1]


async def test_a_scripted_tool_call_is_one() -> None:
    got = await fake(answers=[{"content": None, "tool_calls": [CALL]}]).complete(ask())
    assert (got.message, got.finish_reason) == (Message("assistant", None, tool_calls=(CALL,)), "tool_calls")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"answers": {}}, "empty mapping"),
        ({"answers": []}, "give a list"),
        ({"answers": "no.such.module:f"}, "cannot be imported"),
        ({"answers": "notapath"}, "cannot be imported"),
        ({"anwsers": []}, "unknown option 'anwsers'"),
        ({"failures": {"earthquake": 1}}, "failures"),
    ],
)
def test_a_wrong_script_is_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        fake(**options)


async def test_an_answer_that_is_no_message_is_one_line() -> None:
    with pytest.raises(ConfigError, match="got int"):
        await fake(answers="tests.clients.test_fake:nonsense").complete(ask())
    assert (await FakeClient("m", lambda request: assistant("x")).complete(ask())).text == "x"


async def test_tokens_are_counted_priced_and_bounded() -> None:
    client = fake(answers=["x" * 40], price={"prompt": 1, "completion": 10})
    whole = await client.complete(ask("y" * 8))
    cut = await client.complete(ask("y" * 8, sampling=Sampling(max_tokens=3)))
    # 8 characters = 2 tokens, and 1 for the message; 40 characters = 10 tokens; 3 × 1 + 10 × 10 micro-dollars
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (3, 10)
    assert whole.usage.cost_usd == pytest.approx(103e-6)
    assert (cut.text, cut.finish_reason, cut.usage.completion_tokens) == ("x" * 12, "length", 3)


async def test_an_unpriced_model_costs_an_unknown_sum_and_a_free_one_nothing() -> None:
    assert (await fake().complete(ask())).usage.cost_usd is None
    assert (await fake(price={"prompt": 0, "completion": 0}).complete(ask())).usage.cost_usd == 0


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("rate_limit", RetryableError),
        ("server_error", RetryableError),
        ("timeout", RetryableError),
        ("refused", RequestError),
        ("auth", AuthError),
    ],
)
async def test_every_kind_of_failure_is_of_its_class(kind: str, error: type[ClientError]) -> None:
    with pytest.raises(error) as failed:
        await fake(failures={kind: 1.0}, retry_after=3.0).complete(ask())
    assert failed.value.retry_after == (3.0 if kind == "rate_limit" else None)
    assert failed.value.billed is (None if kind == "timeout" else False)


async def test_it_hangs_is_empty_and_is_huge_where_told_to() -> None:
    hanging = fake(failures={"hang": 1.0})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hanging.complete(ask()), 0.02)
    assert hanging.in_flight == 0
    assert (await fake(failures={"empty": 1.0}).complete(ask())).text == ""
    huge = await fake(failures={"huge": 1.0}).complete(ask(sampling=Sampling(max_tokens=9)))
    assert len(huge.text) == 1_000_000


async def _outcomes(client: FakeClient, order: list[int], at_once: bool) -> dict[int, str]:
    async def one(sample: int) -> tuple[int, str]:
        try:
            return sample, (await client.complete(ask(sample=sample))).text
        except ClientError as error:
            return sample, str(error)

    if at_once:
        return dict(await asyncio.gather(*(one(sample) for sample in order)))
    return dict([await one(sample) for sample in order])


async def test_who_fails_does_not_depend_on_order_or_concurrency() -> None:
    rates: dict[str, Any] = {"failures": {"server_error": 0.3, "empty": 0.1}, "latency": (0.0, 0.005)}
    first = await _outcomes(fake(**rates), list(range(300)), at_once=True)
    second = await _outcomes(fake(**rates), list(range(300))[::-1], at_once=True)
    third = await _outcomes(fake(**{**rates, "latency": 0}), list(range(300)), at_once=False)
    assert first == second == third
    failed = sum("500" in text for text in first.values())
    assert 60 < failed < 120  # 300 × 0.3 = 90, standard deviation 8: 3.8 of them to each side
    assert len(first) == 300


async def test_a_second_attempt_is_drawn_anew_unless_failures_persist() -> None:
    async def outcomes(**more: Any) -> list[bool]:
        client = fake(failures={"server_error": 0.5}, **more)
        return ["500" in (await _outcomes(client, [0], False))[0] for _ in range(20)]

    assert set(await outcomes()) == {True, False}
    assert len(set(await outcomes(persistent=True))) == 1


async def test_the_first_attempts_fail_where_told_to() -> None:
    client = fake(fail_first=2, failures={"rate_limit": 1.0})
    said = [(await _outcomes(client, [0], False))[0] for _ in range(3)]
    assert ["429" in text for text in said] == [True, True, False]


async def test_the_context_is_a_bound() -> None:
    client = fake(context=10)
    await client.complete(ask("x" * 8, sampling=Sampling(max_tokens=7)))  # 2 + 1 + 7 tokens
    with pytest.raises(ContextOverflowError, match="need 11 tokens"):
        await client.complete(ask("x" * 8, sampling=Sampling(max_tokens=8)))


async def test_a_stream_is_spread_over_its_tokens() -> None:
    loop = asyncio.get_running_loop()
    seen: list[tuple[str, float]] = []
    client = fake(answers=["one two three"], token_latency=0.03)
    begun = loop.time()
    last: Completion | None = None
    async for chunk in client.stream(ask()):
        seen.append((chunk.text, loop.time() - begun))
        last = chunk.completion
    assert [text for text, _ in seen] == ["one ", "two ", "thre", "e", ""]
    assert seen[0][1] >= 0.03
    assert seen[3][1] >= 0.12
    assert last is not None
    assert last.usage.seconds >= 0.12


async def test_it_declares_the_seed_only_where_it_obeys_it() -> None:
    assert "seed" not in fake().capabilities
    client = fake(seeded=True, latency=(0.0, 0.01))
    assert "seed" in client.capabilities
    ids = {(await client.complete(ask(seed=seed))).id for seed in (1, 2, 1)}
    assert len(ids) == 2
