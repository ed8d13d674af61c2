"""The stack: everything put together in one place, and what then holds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from archon.budget import Budget
from archon.clients.fake import FakeClient
from archon.clients.retry import Attempt
from archon.clients.stack import FORCED_MAX_TOKENS, ClientStack
from archon.clients.store import CacheStore
from archon.errors import BudgetError, ClientError, ConfigError, UnknownNameError
from archon.models import ModelTable
from archon.types import Request, Sampling, user
from tests.servers import CountingServer, Reply

PRICE = {"prompt": 1.0, "completion": 2.0}


def table(**row: Any) -> ModelTable:
    return ModelTable.from_list([{"id": "m", "client": "fake", "price": PRICE, **row}])


def ask(text: str = "hi", sample: int = 0, **sampling: Any) -> Request:
    return Request((user(text),), Sampling(**sampling), sample=sample)


def transport(stack: ClientStack) -> FakeClient:
    found = stack.transport("m")
    assert isinstance(found, FakeClient)
    return found


async def test_all_clients_of_a_model_share_transport_limits_and_store(tmp_path: Path) -> None:
    rows = table(limits={"in_flight": 2}, options={"latency": 0.01})
    async with ClientStack(rows, cache=CacheStore(tmp_path / "c.sqlite")) as stack:
        clients = [stack.open("m", Budget(calls=50)) for _ in range(5)]
        await asyncio.gather(*(client.complete(ask(sample=n)) for client in clients for n in range(4)))
        assert transport(stack).calls == 4  # 20 asked, 4 different
        assert transport(stack).peak == 2
        await clients[0].aclose()
        assert (await clients[0].complete(ask())).cached  # closing one closes nothing shared


async def test_without_a_cache_every_call_is_made() -> None:
    async with ClientStack(table()) as stack:
        client = stack.open("m")
        assert not (await client.complete(ask())).cached
        assert not (await client.complete(ask())).cached
        assert transport(stack).calls == 2


async def test_a_hit_costs_the_budget_nothing(tmp_path: Path) -> None:
    budget = Budget(calls=1)
    async with ClientStack(table(), cache=CacheStore(tmp_path / "c.sqlite"), budget=budget) as stack:
        client = stack.open("m")
        await client.complete(ask())
        assert (await client.complete(ask())).cached
        with pytest.raises(BudgetError):
            await client.complete(ask(sample=1))
    assert budget.spent.calls == 1


async def test_every_attempt_is_paid_for_and_told(tmp_path: Path) -> None:
    told: list[Attempt] = []
    budget = Budget(calls=10)
    failing = {"fail_first": 2, "failures": {"rate_limit": 1.0}, "retry_after": 0.0}
    async with ClientStack(table(options=failing), budget=budget) as stack:
        await stack.open("m", on_attempt=told.append).complete(ask())
    assert [each.number for each in told] == [1, 2]
    assert budget.spent.calls == 3


async def test_a_hanging_attempt_is_given_up_and_keeps_its_worst_case() -> None:
    budget = Budget(tokens=10_000)
    rows = table(timeout=0.02, retries=0, max_tokens=10, options={"failures": {"hang": 1.0}})
    async with ClientStack(rows, budget=budget) as stack:
        with pytest.raises(ClientError, match="timeout"):
            await stack.open("m").complete(ask())
    assert budget.unsettled.tokens == 12  # "hi" 1 token, its message 1, the answer 10


async def test_the_answers_bound_is_forced_where_a_budget_needs_it_and_only_there() -> None:
    seen: list[int | None] = []

    def note(request: Request) -> str:
        seen.append(request.sampling.max_tokens)
        return "ok"

    for budget in (None, Budget(calls=9), Budget(tokens=9999), Budget(usd=1.0)):
        async with ClientStack(table(), budget=budget) as stack:
            transport(stack)._answer = lambda request: FakeClient("x", note)._answer(request)
            await stack.open("m").complete(ask())
    assert seen == [None, None, FORCED_MAX_TOKENS, FORCED_MAX_TOKENS]
    async with ClientStack(table(max_tokens=5)) as stack:
        assert (await stack.open("m").complete(ask())).finish_reason == "stop"
        assert (await stack.open("m").complete(ask(max_tokens=1))).finish_reason == "length"


async def test_an_unknown_price_under_a_usd_budget_is_an_error_at_the_start() -> None:
    rows = ModelTable.from_list([{"id": "m", "client": "fake"}])
    for stack, own in ((ClientStack(rows, budget=Budget(usd=1.0)), None), (ClientStack(rows), Budget(usd=1.0))):
        with pytest.raises(ConfigError, match=r"'m': its price is unknown.*add `price"):
            stack.open("m", own)
        await stack.aclose()


async def test_a_runs_budget_cannot_slip_past_the_stacks() -> None:
    whole = Budget(calls=1)
    async with ClientStack(table(), budget=whole) as stack:
        assert stack.budget is whole
        with pytest.raises(ConfigError, match=r"parent=stack\.budget"):
            stack.open("m", Budget(calls=100))
        await stack.open("m", Budget(calls=100, parent=whole)).complete(ask())
        with pytest.raises(BudgetError):
            await stack.open("m", Budget(calls=100, parent=whole)).complete(ask(sample=1))


async def test_an_unusable_answer_is_paid_for_once_and_stays_the_same_draw(tmp_path: Path) -> None:
    rows = table(options={"failures": {"empty": 1.0}})
    async with ClientStack(rows, cache=CacheStore(tmp_path / "c.sqlite")) as stack:
        for _ in range(3):
            with pytest.raises(ClientError, match="is empty"):
                await stack.open("m").complete(ask())
        assert transport(stack).calls == 1


async def test_recorded_answers_are_neither_cached_nor_retried(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"question": "hi", "model": "m", "answer": "yes"}\n')
    rows = table(client="replay", options={"path": str(path)})
    async with ClientStack(rows, cache=CacheStore(tmp_path / "c.sqlite"), budget=Budget(calls=2)) as stack:
        client = stack.open("m")
        assert [(await client.complete(ask())).cached for _ in range(2)] == [False, False]
        with pytest.raises(BudgetError):
            await client.complete(ask())


async def test_the_secret_is_kept_beside_the_cache_and_packs_are_shared(tmp_path: Path) -> None:
    secrets = []
    for _ in range(2):
        async with ClientStack(table(), cache=CacheStore(tmp_path / "c.sqlite")) as stack:
            secrets.append(stack.secret)
            assert stack.pack("m") is stack.pack("m")
    assert secrets[0] == secrets[1]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"client": "opnai"}, "unknown client 'opnai'. Did you mean 'openai'"),
        ({"client": "openai"}, "endpoint: none is given"),
        ({"client": "openai", "endpoint": "http://x/v1", "key_env": "NO_SUCH_KEY"}, "NO_SUCH_KEY is not set"),
        ({"client": "tests.clients.test_stack:Missing"}, "has no 'Missing'"),
        ({"options": {"latency": float("nan")}}, "model 'm': options: only plain JSON values"),
    ],
)
def test_a_client_that_cannot_be_built_is_one_line(row: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        ClientStack(table(**row)).open("m")
    assert words in str(wrong.value)


def test_an_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="Known: m"):
        ClientStack(table()).open("n")


async def test_a_price_is_looked_up_once_and_handed_to_the_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {"gpt-x": {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}}
    monkeypatch.setattr("archon.clients.price.litellm_table", lambda: listed)
    with CountingServer() as server:
        rows = ModelTable.from_list([{"id": "m", "name": "gpt-x", "endpoint": server.endpoint}])
        async with ClientStack(rows, budget=Budget(usd=1.0)) as stack:
            got = await stack.open("m").complete(ask())
            price = stack.price("m")
    assert price is not None
    assert got.usage.cost_usd == pytest.approx((7 * 1 + 3 * 2) / 1e6)  # the server reports 7 and 3 tokens


async def test_budgets_hold_under_64_runs_with_failures_timeouts_and_unknown_sizes() -> None:
    """An outside server counts: nothing is sent beyond the calls, and what it billed is within tokens and dollars."""
    billed = {"calls": 0, "tokens": 0}

    def answer(body: dict[str, Any]) -> Reply:
        text = body["messages"][0]["content"]
        kind = len(text) % 5
        billed["calls"] += 1
        if kind == 0:
            return Reply("busy", status=429, headers={"retry-after": "0"})
        prompt, completion = len(text) // 2 + 8, body["max_tokens"]
        billed["tokens"] += prompt + completion
        usage = {"prompt_tokens": prompt, "completion_tokens": completion}
        return Reply("ok", hang=True) if kind == 1 else Reply("ok", usage=usage, latency=0.005)

    limits = {"calls": 150, "tokens": 40_000, "usd": 0.05}
    whole = Budget(**limits)  # type: ignore[arg-type]
    refusals: list[str] = []
    with CountingServer(answer) as server:
        rows = table(client="openai", endpoint=server.endpoint, max_tokens=20, timeout=0.3, retries=1)
        async with ClientStack(rows, budget=whole) as stack:

            async def run(number: int) -> None:
                client = stack.open("m", Budget(tokens=3000, parent=whole))
                for step in range(5):
                    request = ask("x" * ((number * 37 + step * 11) % 300 + 1), sample=step)
                    try:
                        if step % 2:
                            [chunk async for chunk in client.stream(request)]
                        else:
                            await client.complete(request)
                    except BudgetError as error:
                        refusals.append(str(error))
                    except ClientError:
                        pass

            await asyncio.wait_for(asyncio.gather(*(run(number) for number in range(64))), 60)
    assert billed["calls"] <= 150
    assert whole.spent.calls <= 150
    assert billed["tokens"] <= whole.spent.tokens <= 40_000
    assert whole.spent.micro_usd <= 50_000
    assert whole.reserved.fields() == [0, 0, 0, 0]
    assert whole.overruns == 0
    assert refusals
    assert all("it would reserve" in text and "are left" in text for text in refusals)
