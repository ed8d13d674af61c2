"""An executor for recorded models, whose answers are in memory, so that nothing has to be waited for.

It gives what `archon.executor.run` gives (a test holds it to that) but runs the nodes one after the other, without
tasks, and remembers what each root node drew: two systems that share a generator share its draws. Reading an answer
from a text is remembered too. For live models it would be slow; `search` uses it only where every model replays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from archon import extract as extraction
from archon.budget import Budget
from archon.canonical import CanonicalNode
from archon.context import Clients, NodeContext, RunContext, list_clock, start_list_clock
from archon.errors import ArchonError, BudgetError, DeadlineError, NodeError, RunError
from archon.executor import Result
from archon.graph import Graph
from archon.protocols import Sandbox
from archon.trace import Call, NodeRecord, Note, Trace
from archon.types import Message, State, canonical_json

Outcome = State | NodeError


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What a root node did."""

    outcome: Outcome
    calls: tuple[Call, ...]
    notes: tuple[Note, ...]
    seconds: float


@dataclass(slots=True)
class RecordedExecutor:
    """Called like `archon.executor.run`. Keep one for all runs that are to share draws; not for several seeds' sake
    or several stacks' at once."""

    _drawn: dict[tuple[str, int, int, int, str], _Drawn] = field(default_factory=dict)
    _readers: dict[str, Callable[[str], str | None]] = field(default_factory=dict)

    async def __call__(
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
    ) -> Result:
        """One answer. Raises RunError when no answer could be produced."""
        context = RunContext(clients, self._reader(extractor), seed, budget, sandbox)
        asked = canonical_json([message.to_dict() for message in messages])
        start, done = State(tuple(messages)), dict[str, Outcome]()
        for node in architecture.nodes:
            outcome = done[node.id] = await self._outcome(node, start, asked, done, context)
            record = context.trace.nodes[node.id]
            if isinstance(outcome, NodeError):
                record.error = str(outcome)
            else:
                record.candidates = outcome.candidates
        last = done[architecture.architecture.output]
        if isinstance(last, NodeError):
            causes = [each for each in done.values() if isinstance(each, NodeError)]
            raise RunError("no answer", causes, context.trace)
        return Result(last.candidates[0].message, last.candidates, context.trace)

    async def _outcome(
        self, node: CanonicalNode, start: State, asked: str, done: dict[str, Outcome], context: RunContext
    ) -> Outcome:
        record = context.trace.nodes[node.id] = NodeRecord(node.id, node.name)
        if not node.inputs:
            drawn = await self._root(node, start, asked, context)
            record.list_ended = drawn.seconds
            return _renamed(drawn.outcome, node.id)
        inputs = [done[source] for source in node.inputs]
        usable = [each for each in inputs if not isinstance(each, NodeError)]
        record.list_started = max(context.trace.nodes[source].list_ended for source in node.inputs)
        start_list_clock(record.list_started)
        outcome = await _ran(node, State.merged(usable), context) if usable else _starved(node)
        record.list_ended = list_clock()
        return outcome

    async def _root(self, node: CanonicalNode, start: State, asked: str, context: RunContext) -> _Drawn:
        """What a root draws, from memory where the same was drawn before; its calls are noted under this node."""
        key = (node.request_key, node.samples, node.base, context.seed, asked)
        known = self._drawn.get(key)
        if known is None:
            trace = Trace()
            start_list_clock(0.0)
            outcome = await _ran(node, start, replace(context, trace=trace))
            known = _Drawn(outcome, tuple(trace.calls), tuple(trace.notes), list_clock())
            self._drawn[key] = known
        context.trace.calls += [replace(call, node=node.id) for call in known.calls]
        context.trace.notes += [replace(note, node=node.id) for note in known.notes]
        return known

    def _reader(self, name: str) -> Callable[[str], str | None]:
        if name not in self._readers:
            self._readers[name] = _remembering(extraction.extractor(name))
        return self._readers[name]


async def _ran(node: CanonicalNode, state: State, context: RunContext) -> Outcome:
    try:
        outcome = await node.layer.run(state, NodeContext(context, node.id, node.base))
    except (BudgetError, DeadlineError):
        raise
    except NodeError as error:
        return error
    except ArchonError as error:
        return NodeError(node.id, str(error))
    return outcome if outcome.candidates else NodeError(node.id, "no candidate is left")


def _starved(node: CanonicalNode) -> NodeError:
    return NodeError(node.id, "no input is left to work on")


def _renamed(outcome: Outcome, node_id: str) -> Outcome:
    """A remembered outcome under another node's name."""
    if isinstance(outcome, NodeError):
        return outcome
    named = (replace(each, id=f"{node_id}#{each.id.rpartition('#')[2]}", node=node_id) for each in outcome.candidates)
    return outcome.with_candidates(named)


def _remembering(read: Callable[[str], str | None]) -> Callable[[str], str | None]:
    known: dict[str, str | None] = {}

    def remembered(text: str) -> str | None:
        if text not in known:
            known[text] = read(text)
        return known[text]

    return remembered
