"""What happened in one run: every node, every call, every note; and the two books drawn from it.

*Spend* is what was really paid: a cache hit costs nothing. *List* cost and latency are what the architecture would cost
with no cache: the sum over its calls, and the longest path over the recorded call latencies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from archon.types import Candidate, Usage


@dataclass(frozen=True, slots=True)
class Call:
    """One model call of a node."""

    node: str
    model: str
    role: str
    sample: int
    usage: Usage
    """List usage: as recorded when the call was really made; empty for a call that gave no answer at all."""
    cached: bool
    error: str | None = None
    """Why the draw was dropped; None = it succeeded."""
    text: str = ""
    """The model's answer."""
    ended: float | None = field(default=None, compare=False)
    """Seconds from the start of the run; None = not known."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something a reader should know: a fallback, a dropped candidate, a repair."""

    node: str
    kind: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class NodeRecord:
    """One node of the run. Times are seconds from the start of the run."""

    id: str
    layer: str
    started: float = 0.0
    ended: float | None = None
    list_started: float = 0.0
    list_ended: float = 0.0
    candidates: tuple[Candidate, ...] = ()
    """What left the node."""
    error: str | None = None


@dataclass(slots=True)
class Trace:
    """The record of one run; grows while it runs, belongs to it alone."""

    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @property
    def list_usage(self) -> Usage:
        """What the calls cost by list, cache or no cache."""
        return Usage.total(call.usage for call in self.calls)

    @property
    def spend(self) -> Usage:
        """What was really called and paid for in this run."""
        return Usage.total(call.usage for call in self.calls if not call.cached)

    @property
    def list_latency(self) -> float:
        """Seconds of the longest path over recorded call latencies."""
        return max((record.list_ended for record in self.nodes.values()), default=0.0)

    @property
    def cache_hits(self) -> int:
        """Calls answered from the cache."""
        return sum(call.cached for call in self.calls)

    @property
    def failures(self) -> tuple[Call, ...]:
        """Draws that were dropped."""
        return tuple(call for call in self.calls if call.error is not None)

    def usage_by_node(self) -> dict[str, Usage]:
        """List usage of each node."""
        totals: dict[str, Usage] = {node_id: Usage() for node_id in self.nodes}
        for call in self.calls:
            totals[call.node] = totals[call.node] + call.usage
        return totals

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, in the order of the nodes and of what was drawn and said, never of arrival."""
        rank = {node_id: index for index, node_id in enumerate(self.nodes)}
        calls = sorted(
            self.calls,
            key=lambda call: (rank[call.node], call.role, call.model, call.sample, call.error or "", call.text),
        )
        notes = sorted(self.notes, key=lambda note: (rank[note.node], note.kind, note.message))
        return {
            "nodes": [_node(record) for record in self.nodes.values()],
            "calls": [_call(call) for call in calls],
            "notes": [asdict(note) for note in notes],
        }


def _call(call: Call) -> dict[str, Any]:
    """Without the time it ended: what is told of a call is the same whenever it arrives."""
    return {
        "node": call.node,
        "model": call.model,
        "role": call.role,
        "sample": call.sample,
        "usage": call.usage.to_dict(),
        "cached": call.cached,
        "error": call.error,
        "text": call.text,
    }


def _node(record: NodeRecord) -> dict[str, Any]:
    candidates = [
        {**{k: v for k, v in _flat(candidate).items() if v not in (None, (), "")}} for candidate in record.candidates
    ]
    return {
        "id": record.id,
        "layer": record.layer,
        "seconds": [record.started, record.ended],
        "list_seconds": [record.list_started, record.list_ended],
        "error": record.error,
        "candidates": candidates,
    }


def _flat(candidate: Candidate) -> dict[str, Any]:
    return {
        "id": candidate.id,
        "text": candidate.text,
        "model": candidate.model,
        "critique": candidate.critique,
        "score": candidate.score,
        "verdict": candidate.verdict,
        "reasoning": candidate.reasoning,
        "tests": [[result.test.text, result.passed] for result in candidate.tests] or None,
        "logprob": candidate.logprob,
        "parents": list(candidate.parents) or None,
    }
