"""The cache: what is made once is never made again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.budget import Budget
from archon.clients.budget import Budgeted
from archon.clients.cache import Cached
from archon.clients.fake import FakeClient, FakeOptions
from archon.clients.flight import Abandoned, Flights
from archon.clients.key import call_key, upstream_identity
from archon.clients.openai import OpenAIClient
from archon.clients.record import from_record, to_record
from archon.clients.store import CacheStore
from archon.errors import BudgetError, RequestError
from archon.models import ModelSpec
from archon.protocols import Client
from archon.types import Chunk, Completion, Message, Price, Request, Sampling, TokenLogprob, Usage, assistant, user

PRICE = Price(1, 2)


@asynccontextmanager
async def cached(folder: Path, fake: FakeClient, **options: Any) -> AsyncIterator[Cached]:
    store = CacheStore(folder / "c.sqlite")
    yield Cached(fake, store, Flights(), "identity", **options)
    await store.aclose()


def fake(**options: Any) -> FakeClient:
    return FakeClient("m", price=PRICE, options=FakeOptions(**options))


def ask(text: str = "hi", sample: int = 0, **fields: Any) -> Request:
    return Request((user(text),), sample=sample, **fields)


async def test_ten_samples_contain_the_first_five(tmp_path: Path) -> None:
    model = fake()
    async with cached(tmp_path, model) as client:
        ten = [await client.complete(ask(sample=number)) for number in range(10)]
        five = [await client.complete(ask(sample=number)) for number in range(5)]
    assert model.calls == 10
    assert len({each.text for each in ten}) == 10
    assert [replace(each, cached=True) for each in ten[:5]] == five


async def test_a_hit_carries_the_list_usage_that_was_recorded(tmp_path: Path) -> None:
    async with cached(tmp_path, fake(latency=0.05)) as client:
        first, second = await client.complete(ask()), await client.complete(ask())
    assert (first.cached, second.cached) == (False, True)
    assert first.usage == second.usage
    assert second.usage.seconds >= 0.05


async def test_the_cost_of_a_hit_follows_the_price_of_today(tmp_path: Path) -> None:
    async with cached(tmp_path, FakeClient("m")) as client:
        assert (await client.complete(ask())).usage.cost_usd is None
    async with cached(tmp_path, FakeClient("m"), price=Price(10, 100)) as client:
        usage = (await client.complete(ask())).usage
    # what was recorded without a price is priced now: US dollars per million tokens
    assert usage.cost_usd == pytest.approx((usage.prompt_tokens * 10 + usage.completion_tokens * 100) / 1e6)


async def test_identical_calls_under_way_are_made_once(tmp_path: Path) -> None:
    model = fake(latency=0.05)
    async with cached(tmp_path, model) as client:
        got = await asyncio.gather(*(client.complete(ask()) for _ in range(20)))
    assert model.calls == 1
    assert [each.cached for each in got].count(False) == 1  # one paid for it
    assert len({each.text for each in got}) == 1


async def test_one_waiters_cancellation_does_not_cancel_the_others(tmp_path: Path) -> None:
    model = fake(latency=0.1)
    async with cached(tmp_path, model) as client:
        tasks = [asyncio.create_task(client.complete(ask())) for _ in range(3)]
        await asyncio.sleep(0.02)
        tasks[0].cancel()  # the one who made the call
        assert (await tasks[1]).text == (await tasks[2]).text
    assert model.calls == 1


async def test_the_last_waiters_cancellation_cancels_the_call(tmp_path: Path) -> None:
    model = fake(failures={"hang": 1.0})
    async with cached(tmp_path, model) as client:
        tasks = [asyncio.create_task(client.complete(ask())) for _ in range(3)]
        await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert model.in_flight == 0


async def test_a_failure_is_not_kept(tmp_path: Path) -> None:
    model = fake(fail_first=1, failures={"refused": 1.0})
    async with cached(tmp_path, model) as client:
        with pytest.raises(RequestError):
            await client.complete(ask())
        assert (await client.complete(ask())).text


async def test_a_stream_is_kept_and_a_hit_streams(tmp_path: Path) -> None:
    model = fake()
    async with cached(tmp_path, model) as client:
        first = [chunk async for chunk in client.stream(ask())]
        second = [chunk async for chunk in client.stream(ask())]
        whole = await client.complete(ask())
    assert model.calls == 1
    assert "".join(c.text for c in first) == "".join(c.text for c in second) == whole.text
    assert second[-1].completion is not None
    assert second[-1].completion.cached


async def test_who_asks_while_the_same_stream_is_read_gets_its_answer(tmp_path: Path) -> None:
    model = fake(token_latency=0.01)
    async with cached(tmp_path, model) as client:
        pieces = client.stream(ask())
        await anext(pieces)
        waiting = [asyncio.create_task(client.complete(ask())), asyncio.create_task(_text(client.stream(ask())))]
        await asyncio.sleep(0)
        text = "answer" + (await _text(pieces))[2:]  # the first piece was "answ"
        whole, streamed = await asyncio.gather(*waiting)
    assert isinstance(whole, Completion)
    assert whole.text == streamed == text
    assert model.calls == 1


async def test_who_waits_for_a_stream_that_is_given_up_makes_the_call(tmp_path: Path) -> None:
    model = fake(token_latency=0.01)
    async with cached(tmp_path, model) as client:
        pieces = client.stream(ask())
        await anext(pieces)
        waiting = asyncio.create_task(client.complete(ask()))
        await asyncio.sleep(0)
        await pieces.aclose()  # type: ignore[attr-defined]
        assert (await waiting).text.startswith("answer")
    assert model.calls == 2


async def _text(pieces: AsyncIterator[Chunk]) -> str:
    return "".join([chunk.text async for chunk in pieces])


async def test_another_runs_empty_purse_is_not_ours(tmp_path: Path) -> None:
    model = fake(latency=0.05)
    store, flights = CacheStore(tmp_path / "c.sqlite"), Flights()

    def client(calls: int) -> Client:
        return Cached(Budgeted(model, Budget(calls=calls), PRICE, "m"), store, flights, "identity")

    poor, rich = client(0), client(1)
    outcomes = await asyncio.gather(poor.complete(ask()), rich.complete(ask()), return_exceptions=True)
    assert isinstance(outcomes[0], BudgetError)
    assert isinstance(outcomes[1], Completion)
    await store.aclose()


async def test_a_record_that_cannot_be_read_is_made_anew_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = fake()
    async with cached(tmp_path, model) as client:
        await client._store.put(call_key("identity", ask(), False), '{"message": ')
        assert (await client.complete(ask())).text
    assert model.calls == 1
    assert "not a completion record" in caplog.text


async def test_a_seed_tells_draws_apart_only_where_the_model_obeys_it(tmp_path: Path) -> None:
    for seeded, calls in ((False, 1), (True, 2)):
        model = fake(seeded=seeded)
        async with cached(tmp_path / str(seeded), model) as client:
            await client.complete(ask(seed=1))
            await client.complete(ask(seed=2))
        assert model.calls == calls


def test_flights_without_an_answer_are_abandoned() -> None:
    async def scene() -> None:
        flights = Flights()
        future = flights.lead("k")
        waiting = asyncio.create_task(flights.join("k"))
        await asyncio.sleep(0)
        assert ("k" in flights, len(flights)) == (True, 1)
        future.cancel()
        with pytest.raises(Abandoned):
            await waiting
        assert len(flights) == 0

    asyncio.run(scene())


# --- keys and records
# --------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=20)
MESSAGES = st.lists(st.builds(Message, st.sampled_from(["user", "system"]), TEXT), min_size=1, max_size=3).map(tuple)
REQUESTS = st.builds(
    Request,
    MESSAGES,
    st.builds(Sampling, st.one_of(st.none(), st.floats(0, 2)), max_tokens=st.one_of(st.none(), st.integers(1, 9))),
    sample=st.integers(0, 3),
    seed=st.one_of(st.none(), st.integers(0, 3)),
)


@given(one=REQUESTS, other=REQUESTS, seeded=st.booleans())
def test_keys_are_equal_exactly_when_the_draws_are(one: Request, other: Request, seeded: bool) -> None:
    def name(request: Request) -> tuple[object, ...]:
        return request.body(), request.sample, request.seed if seeded else None

    assert (call_key("i", one, seeded) == call_key("i", other, seeded)) == (name(one) == name(other))
    assert call_key("i", one, seeded) != call_key("j", one, seeded)


def _specs() -> Iterator[ModelSpec]:
    yield ModelSpec(id="m", endpoint="http://a/v1")
    yield ModelSpec(id="m", endpoint="http://b/v1")
    yield ModelSpec(id="m", name="other", endpoint="http://a/v1")
    yield ModelSpec(id="m", client="litellm", endpoint="http://a/v1")
    yield ModelSpec(id="m", endpoint="http://a/v1", options={"body": {"top_k": 1}})


def test_identities_differ_where_the_answers_may() -> None:
    assert len({upstream_identity(spec) for spec in _specs()}) == 5
    assert upstream_identity(ModelSpec(id="m"), fingerprint="1") != upstream_identity(
        ModelSpec(id="m"), fingerprint="2"
    )


def test_identities_are_equal_where_only_price_limits_key_or_spelling_differ() -> None:
    plain = ModelSpec(id="m", endpoint="http://a/v1")
    other = ModelSpec.model_validate(
        {
            "id": "another id",
            "name": "m",
            "endpoint": "http://a/v1/",
            "key_env": "K",
            "price": {"prompt": 1, "completion": 1},
            "retries": 0,
            "options": {"header_env": {"X": "Y"}},
        }
    )
    assert upstream_identity(plain) == upstream_identity(other, OpenAIClient.neutral_options)


def test_a_header_typed_into_the_row_is_part_of_the_identity() -> None:
    plain, beta = ModelSpec(id="m"), ModelSpec(id="m", options={"headers": {"anthropic-beta": "long-context"}})
    neutral = OpenAIClient.neutral_options
    assert upstream_identity(plain, neutral) != upstream_identity(beta, neutral)


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
COMPLETIONS = st.builds(
    Completion,
    st.builds(
        Message,
        st.just("assistant"),
        st.one_of(st.none(), TEXT),
        tool_calls=st.sampled_from([(), (CALL,)]),
        extra=st.sampled_from([{}, {"reasoning_content": "hm"}]),
    ),
    TEXT,
    st.builds(Usage, st.integers(0, 9), st.integers(0, 9), cost_usd=st.one_of(st.none(), st.floats(0, 1))),
    logprobs=st.one_of(st.none(), st.just((TokenLogprob("a", -0.25, (("a", -0.25), ("b", -3.0))),))),
    cached=st.just(True),
    id=TEXT,
)


@given(COMPLETIONS)
def test_a_record_gives_the_completion_back(completion: Completion) -> None:
    assert from_record(to_record(completion)) == completion


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"message": {"role": "x"}}'])
def test_what_is_no_record_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="not a completion record"):
        from_record(text)


def test_a_record_does_not_say_whether_it_was_read_from_a_cache() -> None:
    completion = Completion(assistant("x"), "m", Usage(1))
    assert to_record(completion) == to_record(replace(completion, cached=True))
