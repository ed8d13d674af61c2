"""Asks an architecture every question of a list and scores the answers, so many at once.

What happens to a question:
    - the run gives an answer: it is scored; where the scorer fails, the value is None and the cause is its explanation;
    - the run gives none (RunError): it scores 0 with the cause, because who asks such a system gets nothing;
    - the run gives none because an endpoint dropped out (no connection, 429, 502, 503, 504 after every retry): that
      says nothing about the system, so the question stays unscored, and no further one is begun;
    - the budget refuses or its time is over: no further question is begun, those under way end, and what was
      done is returned;
    - the user's set-up is wrong (ConfigError, a refused key, an endpoint that cannot be reached and never answered) or
      there is a bug: all stops and the error is raised.
Outcomes are in the order of the questions, whatever the order of arrival.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from archon import executor
from archon.architecture import Architecture
from archon.budget import Budget
from archon.context import Clients, NodeContext, RunContext
from archon.errors import AuthError, BudgetError, ConfigError, DeadlineError, RetryableError, RunError
from archon.evals.evaluation import Evaluation, Outcome
from archon.executor import Result
from archon.extract import extractor
from archon.graph import Graph, check
from archon.protocols import Benchmark, Context, Sandbox
from archon.trace import Trace
from archon.types import Message, Question, Score

_OUTAGES = frozenset({429, 502, 503, 504})
"""Statuses that tell of a provider out of service or of a quota used up, and not of the request."""

OnResult = Callable[[Outcome], None]
"""Called with each outcome the moment it is known."""


class Execute(Protocol):
    """What `archon.executor.run` does."""

    def __call__(
        self,
        architecture: Graph,
        messages: Sequence[Message],
        clients: Clients,
        *,
        seed: int,
        extractor: str,
        budget: Budget | None,
        deadline: float | None,
        sandbox: Sandbox | None,
    ) -> Awaitable[Result]: ...


async def evaluate(
    architecture: Architecture | Graph,
    benchmark: Benchmark,
    questions: Sequence[Question],
    stack: Clients,
    *,
    seed: int = 0,
    concurrency: int = 16,
    budget: Budget | None = None,
    on_result: OnResult | None = None,
    deadline: float | None = None,
    sandbox: Sandbox | None = None,
    execute: Execute = executor.run,
) -> Evaluation:
    """Asks and scores `questions`.

    Args:
        seed: of every run; a draw's own seed derives from it and from what is asked, so questions do not share draws,
            and two architectures do where they ask the same.
        concurrency: questions under way at once, ≥ 1.
        budget: of all runs together.
        deadline: seconds a question may take; one that takes longer has no answer.
        execute: what runs the architecture.
        sandbox: where model-written code runs, of answers that are code and of tests that are; None = nowhere.

    Raises:
        ConfigError: there are no questions, the architecture or a model is wrong, or a key is refused.
        CancelledError: the caller was cancelled; the runs under way are cancelled with it, and `on_result` has told
            what was done.
    """
    if concurrency < 1:
        raise ConfigError(f"concurrency must be 1 or more, got {concurrency}")
    if not questions:
        raise ConfigError(f"benchmark {benchmark.name!r}: no questions to ask; choose another split or a larger limit")
    if sandbox is None and getattr(benchmark.scorer, "needs_sandbox", False):
        raise ConfigError(
            f"benchmark {benchmark.name!r} runs the answers' code; pass sandbox=archon.sandbox.CodeSandbox()"
        )
    graph = architecture if isinstance(architecture, Graph) else check(architecture)

    async def ask(question: Question) -> Result:
        return await execute(
            graph,
            question.messages,
            stack,
            seed=seed,
            extractor=benchmark.extractor,
            budget=budget,
            deadline=deadline,
            sandbox=sandbox,
        )

    judging = RunContext(stack, extractor(benchmark.extractor), seed, budget, sandbox)
    job = _Job(benchmark, questions, ask, on_result, NodeContext(judging, "scorer"))
    await job.run(concurrency)
    return Evaluation(job.in_order(), len(questions), job.stopped)


@dataclass(slots=True)
class _Job:
    benchmark: Benchmark
    questions: Sequence[Question]
    ask: Callable[[Question], Awaitable[Result]]
    on_result: OnResult | None
    context: Context
    """What the scorer may reach."""
    done: dict[int, Outcome] = field(default_factory=dict)
    stopped: str | None = None

    async def run(self, concurrency: int) -> None:
        """Works through the questions; the first error that is nobody's answer ends all of it."""
        queue = iter(enumerate(self.questions))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(concurrency, len(self.questions))):
                    group.create_task(self._worker(queue))
        except BaseExceptionGroup as failures:
            raise _first(failures) from None

    def in_order(self) -> tuple[Outcome, ...]:
        """What was done, in the order of the questions."""
        return tuple(self.done[index] for index in sorted(self.done))

    async def _worker(self, queue: Iterator[tuple[int, Question]]) -> None:
        """Takes the next question until there is none or the budget is out."""
        for index, question in queue:
            try:
                outcome = await self._outcome(question)
            except (BudgetError, DeadlineError) as refusal:
                self.stopped = self.stopped or str(refusal)
                return
            self.done[index] = outcome
            if outcome.unreached:
                self.stopped = self.stopped or outcome.error
            if self.on_result:
                self.on_result(outcome)
            if self.stopped:
                return

    async def _outcome(self, question: Question) -> Outcome:
        try:
            result = await self.ask(question)
        except RunError as error:
            if self._hopeless(error):
                raise ConfigError(str(error)) from error
            return _failed(question, error)
        score = await self._scored(question, result)
        return Outcome(
            question.id,
            score,
            result.list_usage,
            result.spend,
            result.list_latency,
            result.trace.cache_hits,
            result.text,
        )

    def _hopeless(self, error: RunError) -> bool:
        """Whether every further question would meet the same: a key is refused, or an endpoint cannot be reached
        and nothing was answered yet."""
        if refused(error):
            return True
        return unreachable(error) and not any(outcome.error is None for outcome in self.done.values())

    async def _scored(self, question: Question, result: Result) -> Score:
        try:
            return await self.benchmark.scorer.score(question, result.completion, self.context)
        except (BudgetError, DeadlineError, ConfigError):
            raise
        except Exception as error:  # a scorer may be anybody's: its failure says nothing about the answer
            return Score(None, explanation=f"the scorer failed: {type(error).__name__}: {error}")


def _failed(question: Question, error: RunError) -> Outcome:
    cause = str(error)
    trace = error.trace if isinstance(error.trace, Trace) else Trace()
    score = Score(None if outage(error) else 0.0, None, f"no answer: {cause}")
    spent = (trace.list_usage, trace.spend, trace.list_latency, trace.cache_hits)
    return Outcome(question.id, score, *spent, error=cause)


def refused(error: BaseException) -> bool:
    """Whether a key was refused, among whatever else went wrong."""
    return any(isinstance(cause, AuthError) for cause in _causes(error))


def unreachable(error: BaseException) -> bool:
    """Whether no connection was made to an endpoint: there is no status, and it is certain that nothing was billed."""
    return any(
        isinstance(cause, RetryableError) and cause.status is None and cause.billed is False for cause in _causes(error)
    )


def outage(error: BaseException) -> bool:
    """Whether an endpoint dropped out, so that the failure is no judgement on the system asked."""
    if unreachable(error):
        return True
    return any(isinstance(cause, RetryableError) and cause.status in _OUTAGES for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Every cause below an error that lists its causes."""
    for cause in getattr(error, "causes", ()):
        yield cause
        yield from _causes(cause)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first plain exception of a group, however deep."""
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
