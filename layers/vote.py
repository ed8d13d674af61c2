"""Vote: self-consistency (Wang et al., arXiv 2203.11171). The answer most candidates agree on; no model call."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import ClassVar

from archon.protocols import Context, Plan, Traits
from archon.types import Candidate, State, canonical_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """Groups the candidates by the final answer extracted from each and keeps the first candidate of the largest group.

    Candidates that call tools vote by the tools' names and arguments.
    Equally large groups: the one whose first member comes first wins. A candidate with no extractable answer does not
    vote. When none has one, the first candidate is kept as it is, and that is recorded. The winner's `score` is its
    share of the votes, in (0, 1].
    """

    traits: ClassVar[Traits] = Traits(kind="fuser", models=(), summary="candidates → the majority answer, no call")

    def plan(self, incoming: int) -> Plan:
        """No call; at most one candidate."""
        return Plan(calls=0, candidates=min(incoming, 1))

    async def run(self, state: State, ctx: Context) -> State:
        """See the class."""
        if not state.candidates:
            ctx.note("empty", "no candidate to vote on")
            return state
        ballots = _ballots(state, ctx)
        if not ballots:
            ctx.note("fallback", "no candidate has an answer that can be extracted; the first is kept")
            return state.with_candidates(state.candidates[:1])
        # max() returns the first of equals, and groups stand in order of their first member.
        winners = max(ballots.values(), key=len)
        share = len(winners) / sum(map(len, ballots.values()))
        return state.with_candidates([replace(winners[0], score=share)])


def _called(candidate: Candidate) -> str | None:
    """The tools a candidate calls, by name and arguments, whatever ids and spacing they came with; None = none."""
    calls = [call.get("function") or {} for call in candidate.message.tool_calls]
    return canonical_json([[call.get("name"), _arguments(call.get("arguments"))] for call in calls]) if calls else None


def _arguments(text: object) -> object:
    try:
        return json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return text


def _ballots(state: State, ctx: Context) -> dict[str, list[Candidate]]:
    """Candidates by extracted answer, answers in order of appearance."""
    groups: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in state.candidates:
        answer = _called(candidate) or ctx.extract(candidate.text)
        if answer is not None:
            groups[answer].append(candidate)
    silent = len(state.candidates) - sum(map(len, groups.values()))
    if silent and groups:
        ctx.note("abstained", f"{silent} of {len(state.candidates)} candidates have no answer that can be extracted")
    return dict(groups)
