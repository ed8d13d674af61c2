"""Tokens drafted for the answers under way, by a small model and a stop policy of `specdec`.

A drafted token is drawn from the draft's distribution with the very random number by which the target's own token will
be drawn (Daliri, Musco and Suresh, "Coupling without communication and drafter-invariant speculative decoding",
arXiv:2408.07978). So the two are mostly equal, and whatever is drafted, what stands is the target's draw.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from archon.clients.local_jobs import Job
from archon.clients.local_sampling import uniform

if TYPE_CHECKING:
    from specdec.policies import Policy
    from specdec.propose import Proposer
    from specdec.rows import Draft, Row

_log = logging.getLogger(__name__)


class Drafter:
    """Drafts for jobs.

    Args:
        policy: the stop policy for a temperature.
        ends: tokens after which nothing is drafted.
    """

    def __init__(self, proposer: Proposer, policy: Callable[[float], Policy], ends: frozenset[int]) -> None:
        self._proposer = proposer
        self._policy = policy
        self._ends = ends
        self._rows: dict[Job, Row] = {}
        self._drafts: dict[Job, Draft] = {}
        self.unread = 0
        """Tokens the draft had to read before its last proposal beyond the usual few."""

    def propose(self, jobs: Sequence[Job], among: int) -> Mapping[Job, Sequence[int]]:
        """Tokens to follow what each job has; none for some. among: how many rows decode together."""
        fresh = [job for job in jobs if job not in self._rows]
        for job in fresh:
            self._rows[job] = self._row(job)
        if fresh:
            self._proposer.add([self._rows[job] for job in fresh])
        for job, row in self._rows.items():
            row.tokens += [token.id for token in job.tokens[len(row.tokens) - row.prompt :]]
        self._proposer.roll_back()
        self.unread = self._proposer.unread()
        owners = {id(row): job for job, row in self._rows.items()}
        found = zip(self._proposer.rows, self._proposer.propose(among), strict=True)
        self._drafts = {owners[id(row)]: draft for row, draft in found if draft.tokens}
        return {job: draft.tokens for job, draft in self._drafts.items()}

    def learn(self, job: Job, accepted: int) -> None:
        """What became of the tokens last drafted for a job."""
        draft = self._drafts.pop(job, None)
        if draft is not None:
            self._rows[job].policy.learn(draft.trail, accepted)

    def forget(self, job: Job) -> None:
        """Lets go of a job; nothing where it was never drafted for."""
        row = self._rows.pop(job, None)
        self._drafts.pop(job, None)
        if row is not None:
            self._proposer.drop(row)

    def _row(self, job: Job) -> Row:
        from specdec.params import Sampling
        from specdec.rows import Row
        from specdec.sampling import UniformDraws

        draw = job.draw
        sampling = Sampling(draw.temperature, draw.top_k or 0, 1.0 if draw.top_p is None else draw.top_p)
        room, tokens = len(job.prompt) + job.limit, list(job.prompt)
        policy = self._policy(draw.temperature).for_row()
        row = Row(0, tokens, len(tokens), room, sampling, policy, UniformDraws(lambda: 0.0), self._ends)
        row.draws = UniformDraws(_Numbers(job, row))
        return row


class _Numbers:
    """The random numbers of the tokens that a row has yet to get, from the first on anew each round."""

    def __init__(self, job: Job, row: Row) -> None:
        self._seed, self._row = job.draw.seed, row
        self._known = self._next = -1

    def __call__(self) -> float:
        known = len(self._row.tokens) - self._row.prompt
        self._next = known if known != self._known else self._next + 1
        self._known = known
        return uniform(self._seed, self._next)
