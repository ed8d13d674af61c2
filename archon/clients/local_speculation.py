"""Speculative decoding behind the engine's seam: a draft proposes, the model itself draws, equal tokens stand.

**An answer is the same with speculation on and off, token for token, at every temperature**, for a drafted token stands
only when it is the one that the model draws there (see `local_drafter`), and the model computes a token alike, bit for
bit, alone and in a block. That is checked when the model is loaded; where it does not hold, nothing is drafted. So how
far to draft, and whether at all, may follow from measured times, and costs no reproducibility.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from archon.clients.local_decoding import Made, PlainDecoding
from archon.clients.local_draft import Acceleration
from archon.clients.local_drafter import Drafter
from archon.clients.local_jobs import Job
from archon.clients.local_probe import MOST_DRAFTED
from archon.errors import ConfigError

if TYPE_CHECKING:
    from specdec.head import AcceptanceHead
    from specdec.pace import Pace
    from specdec.policies import Policy

_log = logging.getLogger(__name__)
_USUAL_UNREAD = 32
"""Tokens a row that a draft may read in a round whose time is to count."""
FALLBACK = "logistic"
"""The stop policy without a head, and at temperatures that the head was not trained for."""


class SpeculativeDecoding:
    """`Decoding` with drafts. Where they do not pay, its steps are those of `plain`."""

    def __init__(self, plain: PlainDecoding, drafter: Drafter, pace: Pace, clock: Callable[[], float]) -> None:
        self._plain = plain
        self._drafter = drafter
        self._pace = pace
        self._clock = clock
        self._broken = False

    def begin(self, jobs: Sequence[Job]) -> Made:
        return self._plain.begin(jobs)

    def next(self) -> Made:
        rows, wanted = len(self._plain.jobs), [job for job in self._plain.jobs if job.speculation]
        if self._broken or not wanted or not self._pace.drafts(rows):
            return self._step(rows)
        start = self._clock()
        drafts = self._proposed(wanted, rows)
        middle = self._clock()
        made = self._plain.next(drafts)
        self._learn(made, drafts, rows, drafting=middle - start, verifying=self._clock() - middle)
        return made

    def end(self, job: Job) -> None:
        self._drafter.forget(job)
        self._plain.end(job)

    def _step(self, rows: int) -> Made:
        start = self._clock()
        made = self._plain.next()
        self._pace.saw_plain(rows, self._clock() - start)
        self._forget_failed(made)
        return made

    def _learn(
        self, made: Made, drafts: Mapping[Job, Sequence[int]], rows: int, *, drafting: float, verifying: float
    ) -> None:
        counts = {job: len(tokens) for job, tokens in made.items() if not isinstance(tokens, BaseException)}
        for job in counts.keys() & drafts.keys():
            self._drafter.learn(job, counts[job] - 1)
        self._forget_failed(made)
        if self._drafter.unread <= _USUAL_UNREAD * rows:
            tokens, drafted = sum(counts.values()), sum(map(len, drafts.values()))
            self._pace.saw_round(rows, tokens=tokens, drafted=drafted, drafting=drafting, verifying=verifying)

    def _forget_failed(self, made: Made) -> None:
        for job, tokens in made.items():
            if isinstance(tokens, BaseException):
                self._drafter.forget(job)

    def _proposed(self, jobs: Sequence[Job], rows: int) -> Mapping[Job, Sequence[int]]:
        """A draft that breaks down costs speed and nothing else."""
        from specdec.errors import SpecDecError

        try:
            return self._drafter.propose(jobs, rows)
        except (SpecDecError, RuntimeError, IndexError, MemoryError) as error:
            self._broken = True
            _log.warning("speculation is off from here on: %s", error)
            return {}


def speculative(plain: PlainDecoding, found: Acceleration, ends: frozenset[int]) -> SpeculativeDecoding:
    """`plain` with drafts. Raises ConfigError when draft or head cannot be loaded."""
    import torch

    from specdec.errors import SpecDecError
    from specdec.folder import read_model
    from specdec.head_files import load_head
    from specdec.head_predictor import predictor_of
    from specdec.pace import Pace
    from specdec.propose import Proposer

    try:
        draft = read_model(found.draft)
        head = load_head(found.head) if found.head else None
    except SpecDecError as error:
        raise ConfigError(f"speculation: {error}; or set `speculation: off`") from None
    pace = Pace()
    predictor = predictor_of(head, draft.dtype, draft.device) if head else None
    drafter = Drafter(Proposer(draft, predictor), _policies(found, head, pace), ends)
    # One thread's own time does not tell what else the machine does; several threads' time has to be the wall's.
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    return SpeculativeDecoding(plain, drafter, pace, clock)


def _policies(found: Acceleration, head: AcceptanceHead | None, pace: Pace) -> Callable[[float], Policy]:
    """The stop policy for each temperature; what is done otherwise than asked is logged once."""
    from specdec.pace import Paced
    from specdec.policies import make
    from specdec.policies.capped import Capped
    from specdec.policies.fixed import Fixed

    most = Fixed(MOST_DRAFTED)
    fallback = Capped(make(FALLBACK), most)
    named = Capped(make(found.policy), most) if found.policy else None
    told: set[float] = set()

    def policy(temperature: float) -> Policy:
        if head is None:
            return named or fallback
        chosen = named or Paced(pace, head.config.stopping_at(temperature).multiplier, MOST_DRAFTED)
        if "head" not in chosen.needs or head.covers(temperature):
            return chosen
        if temperature not in told:
            told.add(temperature)
            low, high = head.temperatures
            _log.warning(
                "the acceptance head was trained for temperatures %g to %g, not %g: %s decides how far to draft",
                low, high, temperature, FALLBACK,
            )  # fmt: skip
        return fallback

    return policy
