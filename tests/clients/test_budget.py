"""The budget around a client."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from archon.amounts import Amount
from archon.budget import Budget
from archon.clients.budget import Budgeted
from archon.clients.fake import FakeClient
from archon.clients.guard import Guarded
from archon.clients.limit import Limited, Limiter
from archon.errors import BudgetError, ClientError, DeadlineError
from archon.protocols import Client
from archon.types import Completion, Message, Request, TokenLogprob, Usage, assistant
from tests.clients.fakes import ASKED, OPEN, PRICE, fake, text


async def test_a_call_is_settled_by_its_usage() -> None:
    budget = Budget(calls=5, tokens=500, usd=1.0)
    client = Budgeted(fake(["x" * 40]), budget, PRICE, "m")
    usage = (await client.complete(ASKED)).usage
    assert budget.spent == Amount(1, usage.tokens, usage.prompt_tokens + 2 * usage.completion_tokens)
    await text(client.stream(ASKED))
    assert budget.spent == Amount(2, 2 * usage.tokens, 2 * (usage.prompt_tokens + 2 * usage.completion_tokens))
    assert (budget.reserved, budget.unsettled) == (Amount(), Amount())


async def test_a_refused_call_is_not_made() -> None:
    model = fake()
    client = Budgeted(model, Budget(tokens=5), PRICE, "m")
    for way in (client.complete(ASKED), text(client.stream(ASKED))):
        with pytest.raises(BudgetError, match="a call of 'm'"):
            await way
    assert model.calls == 0


@pytest.mark.parametrize(("kind", "tokens", "kept"), [("server_error", 0, 0), ("timeout", 12, 12)])
async def test_a_failed_call_costs_nothing_only_where_that_is_certain(kind: Any, tokens: int, kept: int) -> None:
    budget = Budget(tokens=500)
    client = Budgeted(fake(failures={kind: 1.0}), budget, PRICE, "m")
    with pytest.raises(ClientError):
        await client.complete(ASKED)  # "hi" is 1 token, its message 1, the answer at most 10
    assert (budget.spent.calls, budget.spent.tokens, budget.unsettled.tokens) == (1, tokens, kept)


async def test_a_cancelled_call_and_a_stream_left_early_keep_their_worst_case() -> None:
    budget = Budget(tokens=500)
    client = Budgeted(fake(failures={"hang": 1.0}), budget, PRICE, "m")
    task = asyncio.create_task(client.complete(ASKED))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert budget.unsettled == Amount(1, 12, 22)  # 2 prompt and 10 answer tokens; 2 × 1 + 10 × 2 micro-dollars
    pieces = Budgeted(fake(["one two"]), budget, PRICE, "m").stream(ASKED)
    await anext(pieces)
    await pieces.aclose()  # type: ignore[attr-defined]
    assert budget.unsettled == Amount(2, 24, 44)


async def test_a_call_whose_usage_was_not_reported_keeps_its_worst_case() -> None:
    class Silent(FakeClient):
        async def complete(self, request: Request) -> Completion:
            return Completion(assistant("x"), "m", Usage(1, cost_usd=None))

    budget = Budget(tokens=500)
    await Budgeted(Silent(), budget, PRICE, "m").complete(ASKED)
    assert budget.spent.tokens == budget.unsettled.tokens == 12


async def test_the_seconds_end_a_call_under_way() -> None:
    budget = Budget(seconds=0.03, tokens=500)
    client = Budgeted(fake(failures={"hang": 1.0}), budget, PRICE, "m")
    with pytest.raises(DeadlineError, match="ended during the call"):
        await client.complete(ASKED)
    assert budget.unsettled.tokens == 12
    slow, streaming = fake(["x" * 400], token_latency=0.01), Budget(seconds=0.03)
    with pytest.raises(DeadlineError):
        await text(Budgeted(slow, streaming, PRICE, "m").stream(OPEN))


class Scoring(FakeClient):
    """A fake that scores."""

    @property
    def capabilities(self) -> frozenset[str]:
        return super().capabilities | {"score"}

    async def score(self, messages: tuple[Message, ...], continuation: str) -> tuple[TokenLogprob, ...]:
        return tuple(TokenLogprob(each, -1.0) for each in continuation)


async def test_a_score_passes_every_wrapper_and_is_billed_at_its_bound() -> None:
    budget = Budget(tokens=500, usd=1.0)
    client = Guarded(Limited(Budgeted(Scoring(price=PRICE), budget, PRICE, "m"), Limiter(1)), "m", 9)
    assert [each.token for each in await client.score(ASKED.messages, "abc")] == ["a", "b", "c"]
    assert budget.spent == Amount(1, 5, 5)  # 2 prompt tokens and 3 bytes of continuation, each 1 micro-dollar
    unpriced = Budgeted(cast(Client, Scoring()), Budget(calls=1), None, "m")
    assert len(await unpriced.score(ASKED.messages, "abc")) == 3
