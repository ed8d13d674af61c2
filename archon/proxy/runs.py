"""Runs of an architecture for one request: `n` of them at once, under one set of bounds, each with its own draws."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from archon import executor
from archon.budget import Budget
from archon.errors import ArchonError, DeadlineRunError
from archon.executor import Result
from archon.proxy.architectures import Served
from archon.proxy.ask import Ask, check_answer
from archon.proxy.errors import ApiError
from archon.proxy.http import Call, room
from archon.proxy.json_schema_check import Steps
from archon.proxy.ledger import Hold
from archon.proxy.metered import Metered
from archon.proxy.unmetered import FreeHold
from archon.trace import NodeRecord, Trace
from archon.types import Candidate, Chunk, Usage, derived_seed

_APART = 10_000
"""Sample indices between two runs of one request; no graph draws as many samples of one request."""

Sink = Callable[[int, Chunk], None]
Watch = Callable[[int, NodeRecord], None]


@dataclass(slots=True)
class Job:
    """One request's runs; its traces fill while they go on.

    Attributes:
        seed: of the first run, given or drawn, told in the answer so that it can be repeated.
    """

    served: Served
    ask: Ask
    trace_id: str
    seed: int
    began: float = field(default_factory=time.time)
    traces: list[Trace] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    room: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Headers that say what is left to the key."""
    told: dict[str, Any] | None = None
    """The `archon` object of the answer, once the runs have ended."""

    @property
    def spend(self) -> Usage:
        """What was really paid, all runs together."""
        return Usage.total(call.usage for trace in self.traces for call in trace.calls if not call.cached)

    @property
    def list_usage(self) -> Usage:
        """What it would have cost with no cache."""
        return Usage.total(trace.list_usage for trace in self.traces)

    @property
    def cache_hits(self) -> int:
        """Calls answered from the cache."""
        return sum(trace.cache_hits for trace in self.traces)

    @property
    def stopped(self) -> str | None:
        """Why a run ended early; None = all ran to their end."""
        return next((result.stopped for result in self.results if result.stopped), None)


def prepare(call: Call, served: Served, ask: Ask) -> Job:
    """The job, before any call."""
    seed = ask.seed if ask.seed is not None else secrets.randbits(62)
    return Job(served, ask, "tr_" + secrets.token_hex(12), seed, traces=[Trace() for _ in range(ask.n)])


async def perform(call: Call, job: Job, sink: Sink | None = None, watch: Watch | None = None) -> Sequence[Result]:
    """Runs the job; the results in the order of their index.

    Raises:
        ApiError: an answer breaks the form that was asked for.
        RunError, BudgetError, QuotaError: a run gave no answer; the others are cancelled.
    """
    services, ask = call.services, job.ask
    hold = await _arrival(call)
    job.room = room(hold) if hold is not None else []
    clients = Metered(call.catalogue.stack, services.ledger, call.key, call.id)
    budget = _budget(ask)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_one(index, call, job, clients, budget, sink, watch)) for index in range(ask.n)]
        job.results = [task.result() for task in tasks]
        call.waited = max(result.waited for result in job.results)
        job.results = await _all_checked(job.results, ask)
    except BaseExceptionGroup as failures:
        _account(call, job, _first(failures))
        raise _first(failures) from None
    except BaseException as error:
        _account(call, job, error)
        raise
    finally:
        if hold is not None:
            hold.release()
    _account(call, job, None)
    return job.results


async def _arrival(call: Call) -> Hold | FreeHold | None:
    """The request counted among its key's, where these are bounded; its calls are charged one by one."""
    if call.key is None or call.key.requests_per_minute is None:
        return None
    return await call.services.ledger.reserve(call.key.id, call.key, 0, 0, call.id)


async def _one(
    index: int,
    call: Call,
    job: Job,
    clients: Metered,
    budget: Budget | None,
    sink: Sink | None,
    watch: Watch | None,
) -> Result:
    deadline = _deadline(call, job.ask)
    run = executor.run(
        job.served.graph,
        job.ask.messages,
        clients,
        seed=job.seed if index == 0 else derived_seed(job.seed, index),
        extractor=job.served.extractor,
        budget=budget,
        deadline=deadline,
        sandbox=call.services.sandbox,
        options=job.ask.options,
        sink=(lambda chunk: sink(index, chunk)) if sink else None,
        partial=job.ask.archon.bounded,
        first_sample=index * _APART,
        trace=job.traces[index],
        watch=(lambda record: watch(index, record)) if watch else None,
    )
    try:
        return await run
    except DeadlineRunError as error:
        if job.ask.archon.max_seconds is None or deadline < job.ask.archon.max_seconds:
            raise
        raise ApiError(400, str(error), code="cap_too_small", param="archon", retry=False) from None


def _budget(ask: Ask) -> Budget | None:
    caps = ask.archon
    if caps.max_calls is None and caps.max_usd is None:
        return None
    return Budget(calls=caps.max_calls, usd=caps.max_usd)


def _deadline(call: Call, ask: Ask) -> float:
    return min(ask.archon.max_seconds or call.services.settings.deadline, call.services.settings.deadline)


async def _all_checked(results: list[Result], ask: Ask) -> list[Result]:
    """The results, each led by a candidate that has the form asked for; other requests go on meanwhile."""
    if ask.response_format is None:
        return results
    steps = Steps()
    return [await asyncio.to_thread(_checked, result, ask, steps) for result in results]


def _checked(result: Result, ask: Ask, steps: Steps) -> Result:
    """The result with its best candidate that has the form asked for. Raises the first candidate's ApiError."""
    first: ArchonError | None = None
    for index, candidate in enumerate(result.candidates):
        try:
            check_answer(candidate.message, candidate.finish_reason, ask, steps)
        except ArchonError as error:
            first = first or error
            continue
        return _led(result, index, candidate)
    assert first is not None
    raise first


def _led(result: Result, index: int, candidate: Candidate) -> Result:
    others = result.candidates[:index] + result.candidates[index + 1 :]
    return result if index == 0 else replace(result, answer=candidate.message, candidates=(candidate, *others))


def _account(call: Call, job: Job, error: BaseException | None) -> None:
    """Tells metrics, logs, traces and spans what the runs did, however they ended."""
    job.told = _report(job)
    call.spent = job.spend.tokens > 0
    call.services.observe(call, job, error)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def report(job: Job) -> dict[str, Any]:
    """The `archon` object of an answer: what it took, node by node, and how it ended."""
    return job.told or _report(job)


def _report(job: Job) -> dict[str, Any]:
    spend, by_list = job.spend, job.list_usage
    return {
        "trace_id": job.trace_id,
        "architecture": job.served.id,
        "seed": job.seed,
        "calls": by_list.calls,
        "cache_hits": job.cache_hits,
        "cost_usd": spend.cost_usd,
        "list_cost_usd": by_list.cost_usd,
        "stopped": job.stopped,
        "nodes": _nodes(job),
    }


def _nodes(job: Job) -> list[dict[str, Any]]:
    """Usage by node, all runs together."""
    rows = []
    by_node = [trace.usage_by_node() for trace in job.traces]
    for node in job.served.graph.nodes:
        usage = Usage.total(each.get(node.id, Usage()) for each in by_node)
        records = [trace.nodes[node.id] for trace in job.traces if node.id in trace.nodes]
        rows.append(
            {
                "id": node.id,
                "layer": node.name,
                "calls": usage.calls,
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "cost_usd": usage.cost_usd,
                "seconds": max(((each.ended or each.started) - each.started for each in records), default=0.0),
            }
        )
    return rows
