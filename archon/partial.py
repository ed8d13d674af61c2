"""The best candidate of a run that ended early: what a per-request bound leaves instead of an error.

The last stage that has anything counts. Its finished nodes' candidates stand in the order their layer gave them; where
none is finished, the answers drawn so far, by node and sample. Scores order them where there are any; else the answer
that most of them agree on goes first, as a vote would choose it.
"""

from __future__ import annotations

import math
from collections import Counter

from archon.context import RunContext
from archon.graph import Graph
from archon.types import Candidate


def best_so_far(graph: Graph, context: RunContext) -> tuple[Candidate, ...]:
    """The candidates of the last stage that has any, best first; empty where nothing has come."""
    known = {node.id: _known(node.id, context) for node in graph.nodes}
    stages = [graph.stage[node_id] for node_id, candidates in known.items() if candidates]
    if not stages:
        return ()
    last = [each for node_id, found in known.items() if graph.stage[node_id] == max(stages) for each in found]
    return _ordered(last, context)


def _known(node: str, context: RunContext) -> tuple[Candidate, ...]:
    """What left a node, else what was drawn in it so far."""
    record = context.trace.nodes.get(node)
    if record is not None and record.candidates:
        return record.candidates
    drafts = [completion for source, completion in context.drafts if source == node]
    return tuple(
        Candidate(
            f"{node}#{index}",
            completion.message,
            completion.model,
            node,
            finish_reason=completion.finish_reason,
            token_logprobs=completion.logprobs,
        )
        for index, completion in enumerate(drafts)
    )


def _ordered(candidates: list[Candidate], context: RunContext) -> tuple[Candidate, ...]:
    if any(each.score is not None for each in candidates):
        return tuple(sorted(candidates, key=lambda each: math.inf if each.score is None else -each.score))
    answers = [context.extract(each.text) for each in candidates]
    votes: Counter[str | None] = Counter(answer for answer in answers if answer is not None)
    ranked = sorted(zip(answers, candidates, strict=True), key=lambda pair: -votes[pair[0]])
    return tuple(candidate for _, candidate in ranked)
