"""Runs an architecture once: ready nodes at once, the samples of a node at once, one deadline, one budget.

How a run degrades: a failed draw is dropped and recorded; a node with fewer draws than its quorum fails; a node runs
on what its surviving inputs give and fails when none survives; the run fails, with every cause listed, when the output
node fails. A refusal by the budget ends the run at once. An error is never an answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from archon import extract as extraction
from archon.architecture import Architecture
from archon.budget import Budget
from archon.canonical import CanonicalNode
from archon.context import Clients, NodeContext, RunContext, RunOptions, list_clock, start_list_clock
from archon.errors import ArchonError, BudgetError, ConfigError, DeadlineError, DeadlineRunError, NodeError, RunError
from archon.graph import Graph, check, writers
from archon.partial import best_so_far
from archon.protocols import Sandbox
from archon.trace import NodeRecord, Trace
from archon.types import Candidate, Chunk, Completion, Message, State, Usage


@dataclass(frozen=True, slots=True)
class Result:
    """What a run gives."""

    answer: Message
    candidates: tuple[Candidate, ...]
    """Every candidate of the last stage; the first is the answer."""
    trace: Trace
    stopped: str | None = None
    """Why the run ended early with the best candidate it had (`partial`); None = it ran to its end."""
    waited: float = 0.0
    """Seconds in which at least one model call was under way."""

    @property
    def text(self) -> str:
        """The answer's text."""
        return self.answer.text

    @property
    def spend(self) -> Usage:
        """What was really called and paid: cache hits cost nothing."""
        return self.trace.spend

    @property
    def list_usage(self) -> Usage:
        """What the run would have cost with no cache."""
        return self.trace.list_usage

    @property
    def list_latency(self) -> float:
        """Seconds of the longest path over recorded call latencies."""
        return self.trace.list_latency

    @property
    def completion(self) -> Completion:
        """The answer as a model's completion would be, usage counting every call."""
        best = self.candidates[0]
        return Completion(self.answer, best.model, self.list_usage, best.finish_reason, best.token_logprobs)


async def run(
    architecture: Architecture | Graph,
    messages: Sequence[Message],
    clients: Clients,
    *,
    seed: int = 0,
    extractor: str = "number",
    budget: Budget | None = None,
    deadline: float | None = None,
    sandbox: Sandbox | None = None,
    options: RunOptions = RunOptions(),
    sink: Callable[[Chunk], None] | None = None,
    partial: bool = False,
    first_sample: int = 0,
    trace: Trace | None = None,
    watch: Callable[[NodeRecord], None] | None = None,
) -> Result:
    """One answer of an architecture to one conversation.

    Args:
        deadline: seconds from now after which the run is given up.
        sink: receives the pieces of the answer as they arrive, when the output node makes a single call.
        partial: when budget or deadline end the run early, answer with the best candidate there is
            (`archon.partial`) and say so in `Result.stopped`, rather than fail.
        first_sample: added to every sample index, so that two runs of one conversation take different draws.
        trace: filled while the run goes on, for a look at it from outside; default: a new one.
        watch: told of every node when it starts and when it ends.

    Raises:
        ConfigError: the architecture, a model or the conversation is wrong; nothing was called.
        BudgetError, DeadlineError: the budget refused a call.
        RunError: no answer could be produced; holds every cause and the trace.
    """
    if not messages:
        raise ConfigError("the conversation is empty; give at least one message")
    graph = architecture if isinstance(architecture, Graph) else check(architecture)
    context = RunContext(
        clients,
        extraction.extractor(extractor),
        seed=seed,
        budget=budget,
        sandbox=sandbox,
        options=options,
        sink=sink,
        trace=trace or Trace(),
        partial=partial,
        first_sample=first_sample,
    )
    _open_models(graph, context)
    job = _Run(graph, context, State(tuple(messages)), watch)
    context.began = job.began
    try:
        async with asyncio.timeout(deadline):
            state = await job.result()
    except TimeoutError:
        return _early(graph, context, _late(deadline, context.trace))
    except (RunError, BudgetError, DeadlineError) as error:
        return _early(graph, context, error)
    stopped = str(context.refused) if context.refused else None
    return Result(state.candidates[0].message, state.candidates, context.trace, stopped, context.waiting.seconds)


def _early(graph: Graph, context: RunContext, error: ArchonError) -> Result:
    """The best candidate of a run that a bound ended, where that is wanted and there is one; else the error."""
    bounds = (BudgetError, DeadlineError, DeadlineRunError)
    bound = context.refused or (error if isinstance(error, bounds) else None)
    found = best_so_far(graph, context) if context.partial and bound else ()
    if not found:
        raise bound or error
    return Result(found[0].message, found, context.trace, str(bound), context.waiting.seconds)


def _late(deadline: float | None, trace: Trace) -> RunError:
    failures = [ArchonError(call.error or "") for call in trace.failures]
    return DeadlineRunError(f"no answer within the deadline of {deadline:g} s", failures, trace)


def _open_models(graph: Graph, context: RunContext) -> None:
    """Opens every model before any call, so that a missing key or extra costs nothing."""
    for node in graph.nodes:
        for role in node.layer.traits.models:
            model = node.arguments.get(role)
            if model is not None:
                context.client(str(model))
                context.clients.pack(str(model))


@dataclass(slots=True)
class _Run:
    graph: Graph
    context: RunContext
    start: State
    watch: Callable[[NodeRecord], None] | None = None
    began: float = field(default_factory=time.monotonic)
    tasks: dict[str, asyncio.Task[State | NodeError]] = field(default_factory=dict)
    writers: frozenset[str] = frozenset()

    async def result(self) -> State:
        """The output node's state. Nodes are started in canonical order and wait for their inputs."""
        self.writers = writers(self.graph)
        for node in self.graph.nodes:
            self.context.trace.nodes[node.id] = NodeRecord(node.id, node.name)
        try:
            async with asyncio.TaskGroup() as group:
                for node in self.graph.nodes:
                    self.tasks[node.id] = group.create_task(self._finished(node))
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        outcome = self.tasks[self.graph.architecture.output].result()
        if isinstance(outcome, NodeError):
            raise RunError("no answer", self._causes(), self.context.trace)
        return outcome

    async def _finished(self, node: CanonicalNode) -> State | NodeError:
        record = self.context.trace.nodes[node.id]
        inputs = [await self.tasks[source] for source in node.inputs]
        begun = max((self.context.trace.nodes[source].list_ended for source in node.inputs), default=0.0)
        start_list_clock(begun)
        record.started, record.list_started = self._now(), begun
        self._tell(record)
        outcome = await self._outcome(node, inputs)
        record.ended, record.list_ended = self._now(), list_clock()
        if isinstance(outcome, NodeError):
            record.error = str(outcome)
        else:
            record.candidates = outcome.candidates
        self._tell(record)
        return outcome

    async def _outcome(self, node: CanonicalNode, inputs: Sequence[State | NodeError]) -> State | NodeError:
        usable = [each for each in inputs if not isinstance(each, NodeError)]
        if inputs and not usable:
            return NodeError(node.id, "no input is left to work on")
        try:
            given = State.merged(usable) if usable else self.start
            state = await node.layer.run(given, self._view(node, len(given.candidates)))
        except (BudgetError, ConfigError, DeadlineError):
            raise
        except NodeError as error:
            return error
        except ArchonError as error:
            failed = NodeError(node.id, str(error))
            failed.causes = (error,)
            return failed
        except Exception as error:  # a third party's layer may raise anything; its bug fails its node, with its name
            failed = NodeError(node.id, f"layer {node.name!r} raised {type(error).__name__}: {error}")
            failed.__cause__ = error
            return failed
        if not state.candidates:
            return NodeError(node.id, "no candidate is left")
        return state

    def _view(self, node: CanonicalNode, candidates: int) -> NodeContext:
        is_output = node.id == self.graph.architecture.output
        single = is_output and self.context.sink is not None and node.layer.plan(candidates).calls == 1
        return NodeContext(self.context, node.id, node.base, node.id in self.writers, single)

    def _causes(self) -> list[BaseException]:
        outcomes = [task.result() for task in self.tasks.values()]
        return [outcome for outcome in outcomes if isinstance(outcome, NodeError)]

    def _tell(self, record: NodeRecord) -> None:
        if self.watch is not None:
            self.watch(record)

    def _now(self) -> float:
        return time.monotonic() - self.began


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first plain exception of a group, however deep."""
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
