"""Asking many questions: order, bounds, and what each kind of failure does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from archon import Budget, Generator, Vote, executor
from archon.architecture import Architecture
from archon.clients.cache import CacheStore
from archon.clients.stack import ClientStack
from archon.errors import BudgetError, ConfigError, RetryableError, RunError
from archon.evals.evaluation import Evaluation, Outcome
from archon.evals.runner import evaluate
from archon.evals.scorers import ExactScorer
from archon.models import ModelTable
from archon.protocols import Context, Scorer
from archon.types import Completion, Question, Score, Split, user


@dataclass(frozen=True)
class Sums:
    """`count` questions "Qi: i + 1 = ?" as a benchmark."""

    count: int = 6
    scorer: Scorer = field(default_factory=lambda: ExactScorer("number"))
    name: str = "sums"
    extractor: str = "number"

    def questions(self, split: Split = "search") -> Sequence[Question]:
        return [Question(f"q{i}", (user(f"Q{i}: {i} + 1 = ?"),), str(i + 1)) for i in range(self.count)]

    def fingerprint(self) -> str:
        return str(self.count)


def fake(answers: Any = None, **options: Any) -> ModelTable:
    spec = {key: options.pop(key) for key in ("timeout", "price", "max_tokens") if key in options}
    settings = {"answers": answers, **options}
    return ModelTable.from_list([{"id": "m", "client": "fake", "options": settings, "retries": 0, **spec}])


RIGHT = {f"Q{i}:": f"answer {i + 1}" for i in range(60)}


def ask(
    models: ModelTable,
    benchmark: Sums | None = None,
    architecture: Architecture | None = None,
    cache: CacheStore | None = None,
    **options: Any,
) -> Evaluation:
    async def inner() -> Evaluation:
        chosen = benchmark or Sums()
        stack = ClientStack(models, cache=cache)
        try:
            system = architecture or Generator("m").architecture()
            return await evaluate(system, chosen, chosen.questions("search"), stack, **options)
        finally:
            await stack.aclose()

    return asyncio.run(inner())


def test_every_question_is_asked_and_scored() -> None:
    result = ask(fake({**RIGHT, "Q3:": "answer 5", "Q4:": "I do not know"}))
    assert [o.score.value for o in result.outcomes] == [1, 1, 1, 0, 0, 1]
    assert [o.score.extracted for o in result.outcomes[3:5]] == ["5", None]
    assert result.mean == pytest.approx(4 / 6)
    assert result.complete
    assert result.stopped is None


def test_outcomes_keep_the_order_of_the_questions() -> None:
    """Latencies drawn at random make the answers arrive in another order; only on_result sees that one."""
    arrived: list[Outcome] = []
    result = ask(fake(RIGHT, latency=(0.0, 0.05)), Sums(20), concurrency=20, on_result=arrived.append)
    assert [o.question_id for o in result.outcomes] == [f"q{i}" for i in range(20)]
    assert {o.question_id for o in arrived} == {f"q{i}" for i in range(20)}
    assert [o.question_id for o in arrived] != [f"q{i}" for i in range(20)]


def test_no_more_questions_are_under_way_than_allowed() -> None:
    async def inner() -> int:
        stack, benchmark, under_way, most = ClientStack(fake(RIGHT)), Sums(30), 0, 0

        async def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            try:
                return await executor.run(*args, **kwargs)
            finally:
                under_way -= 1

        architecture = Generator("m").architecture()
        questions = benchmark.questions()
        await evaluate(architecture, benchmark, questions, stack, concurrency=4, execute=counted)
        await stack.aclose()
        return most

    assert asyncio.run(inner()) == 4


def test_a_run_without_an_answer_is_wrong_with_its_cause() -> None:
    result = ask(fake(RIGHT, failures={"refused": 1.0}))
    assert result.mean == 0
    assert result.unscored == 0
    assert result.complete
    assert all(o.error and "400" in o.error for o in result.outcomes)
    assert all(o.answer == "" for o in result.outcomes)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_endpoint_that_drops_out_midway_is_no_score_and_ends_the_asking(status: int) -> None:
    async def drops(architecture: Any, messages: Any, clients: Any, **given: Any) -> Any:
        if messages[0].content.startswith("Q2:"):
            raise RunError("no answer", [RetryableError("it is gone", status=status)])
        return await executor.run(architecture, messages, clients, **given)

    result = ask(fake(RIGHT), execute=drops, concurrency=1)
    assert [o.score.value for o in result.outcomes] == [1, 1, None]
    assert result.mean == 1
    assert result.unscored == 1
    assert result.outage == result.stopped == "no answer: it is gone"


def test_a_question_that_takes_too_long_is_wrong() -> None:
    result = ask(fake(RIGHT, failures={"hang": 1.0}), Sums(2), deadline=0.05)
    assert result.mean == 0
    assert all("deadline" in (o.error or "") for o in result.outcomes)


class BrokenScorer:
    """Fails on the second question."""

    async def score(self, question: Question, answer: Completion, ctx: Context | None) -> Score:
        if question.id == "q1":
            raise ZeroDivisionError("no weights")
        return Score(1.0)


def test_a_scorer_that_fails_leaves_the_question_unscored() -> None:
    result = ask(fake(RIGHT), Sums(3, BrokenScorer()))
    assert [o.score.value for o in result.outcomes] == [1, None, 1]
    assert "ZeroDivisionError: no weights" in result.outcomes[1].score.explanation
    assert result.mean == 1
    assert result.unscored == 1
    assert not result.errors


class PayingScorer:
    """A judge whose own calls meet the end of the budget at the fourth question."""

    async def score(self, question: Question, answer: Completion, ctx: Context | None) -> Score:
        if question.id == "q3":
            raise BudgetError("no call is left")
        return Score(1.0)


def test_a_judge_that_meets_the_budget_ends_it_too() -> None:
    result = ask(fake(RIGHT), Sums(9, PayingScorer()), concurrency=1)
    assert [o.question_id for o in result.outcomes] == ["q0", "q1", "q2"]
    assert result.stopped == "no call is left"


def test_those_under_way_end_and_no_other_is_begun() -> None:
    """q0 meets the budget while q1 is under way: q1 still counts, q2 is never asked."""
    refused = asyncio.Event()

    async def execute(architecture: Any, messages: Any, clients: Any, **options: Any) -> Any:
        if messages[0].text.startswith("Q0:"):
            refused.set()
            raise BudgetError("no call is left")
        await refused.wait()
        return await executor.run(architecture, messages, clients, **options)

    result = ask(fake(RIGHT), Sums(9), concurrency=2, execute=execute)
    assert [o.question_id for o in result.outcomes] == ["q1"]
    assert result.asked == 9


def test_a_budget_that_is_out_ends_it_with_what_was_done() -> None:
    result = ask(fake(RIGHT), Sums(20), budget=Budget(calls=5), concurrency=3)
    assert len(result.outcomes) == 5
    assert result.stopped
    assert "5 calls are left" in result.stopped or "0 of 5 calls" in result.stopped
    assert not result.complete
    assert result.mean == 1


def test_a_budget_whose_time_is_over_ends_it() -> None:
    result = ask(fake(RIGHT, failures={"hang": 1.0}), Sums(5), budget=Budget(seconds=0.05), concurrency=2)
    assert result.outcomes == ()
    assert result.stopped
    assert "seconds of the budget" in result.stopped


def test_a_refused_key_is_the_users_error_and_no_score() -> None:
    with pytest.raises(ConfigError, match="401"):
        ask(fake(RIGHT, failures={"auth": 1.0}))


def test_an_endpoint_that_cannot_be_reached_ends_it_and_is_no_score() -> None:
    row = {"id": "m", "client": "openai", "endpoint": "http://127.0.0.1:9/v1", "retries": 1}
    with pytest.raises(ConfigError, match="cannot connect"):
        ask(ModelTable.from_list([row]), Sums(30), concurrency=4)


def test_a_mistaken_setup_is_raised() -> None:
    with pytest.raises(ConfigError, match="concurrency"):
        ask(fake(RIGHT), concurrency=0)
    with pytest.raises(ConfigError, match="no questions to ask"):
        ask(fake(RIGHT), Sums(0))


def test_a_bug_is_not_an_answer() -> None:
    def broken(outcome: Outcome) -> None:
        raise KeyError("progress")

    with pytest.raises(KeyError, match="progress"):
        ask(fake(RIGHT), on_result=broken)


def test_cancelling_keeps_what_on_result_was_told() -> None:
    """The slow question never ends; the caller gives up; the other five are known."""
    known: list[str] = []

    async def inner() -> None:
        five = asyncio.Event()

        def note(outcome: Outcome) -> None:
            known.append(outcome.question_id)
            if len(known) == 5:
                five.set()

        stack, benchmark = ClientStack(fake(RIGHT)), Sums()
        try:
            async with asyncio.timeout(5):
                task = asyncio.ensure_future(
                    evaluate(
                        Generator("m").architecture(),
                        benchmark,
                        benchmark.questions(),
                        stack,
                        on_result=note,
                        execute=hanging_on_first,
                    )
                )
                await five.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
        finally:
            await stack.aclose()

    asyncio.run(inner())
    assert sorted(known) == ["q1", "q2", "q3", "q4", "q5"]


async def hanging_on_first(architecture: Any, messages: Any, clients: Any, **options: Any) -> Any:
    from archon import executor

    if messages[0].text.startswith("Q0:"):
        await asyncio.Event().wait()
    return await executor.run(architecture, messages, clients, **options)


def test_cached_calls_cost_nothing_and_list_cost_stays(tmp_path: Path) -> None:
    models = fake(RIGHT, price={"prompt": 1.0, "completion": 1.0})
    system = (Generator("m", samples=3) >> Vote()).architecture()
    first, second = (ask(models, architecture=system, cache=CacheStore(tmp_path / "cache.db")) for _ in range(2))
    assert (first.spend.calls, first.cached_calls) == (18, 0)
    assert (second.spend.calls, second.cached_calls) == (0, 18)
    assert second.list_usage.calls == first.list_usage.calls == 18
    assert second.usd_per_question == pytest.approx(first.usd_per_question)
    assert second.spend.cost_usd == 0
    assert [o.answer for o in first.outcomes] == [o.answer for o in second.outcomes]
