"""Whether drafting pays, and how far, learnt from the times of the steps being made: no measurement beforehand.

For servers, whose batch changes from step to step and whose machine is shared. Everything is kept by the number of rows
that decode together, in powers of two. Speculation is first tried among few rows; among twice as many only where it
paid; what does not pay is tried again ever more rarely. Which rule is used must not change the text then, so this is
for verification that draws the same tokens with any drafts. Pure arithmetic, no clock and no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from specdec.policies.base import LIMIT, Need, Signal, Stateless

_FADE = 0.98
"""Of what is known, at each new step: about fifty steps count."""
_FIRST = 4
"""Timed steps of each kind before they are compared."""
_FEW = 7
"""Rows up to which speculation is tried without having paid among fewer."""
_GAIN = 0.97
"""Speculation pays when a token takes less than this of a plain one's time."""
_TRIAL, _SOON, _LATE = 3, 64, 4096
"""Rounds of a trial, and steps until the next: the first time, and at most."""


@dataclass(slots=True)
class _Mean:
    """A ratio of sums that fade. A step far slower than the others (the machine did something else) counts in part."""

    above: float = 0.0
    below: float = 0.0
    count: int = 0

    def add(self, above: float, below: float) -> None:
        if self.count >= _FIRST:
            above = min(above, 4 * self.value * below)
        self.above, self.below = _FADE * self.above + above, _FADE * self.below + below
        self.count += 1

    @property
    def value(self) -> float:
        return self.above / self.below if self.below else 0.0


@dataclass(slots=True)
class _Level:
    """What is known of one number of rows. plain, speculative: seconds a token, by the kind of step. drafting: seconds
    a drafted token. step, verifying: seconds of a plain step, and of a pass over drafted tokens. drafted: tokens a
    round."""

    plain: _Mean = field(default_factory=_Mean)
    speculative: _Mean = field(default_factory=_Mean)
    drafting: _Mean = field(default_factory=_Mean)
    step: _Mean = field(default_factory=_Mean)
    verifying: _Mean = field(default_factory=_Mean)
    drafted: _Mean = field(default_factory=_Mean)
    trial: int = 0
    wait: int = _SOON
    since: int = 0
    paid: bool = False

    @property
    def known(self) -> bool:
        return min(self.plain.count, self.speculative.count) >= _FIRST

    @property
    def pays(self) -> bool:
        return self.known and self.speculative.value < _GAIN * self.plain.value


class Pace:
    """Decides for each step; is told what each step took."""

    def __init__(self) -> None:
        self._levels: dict[int, _Level] = {}

    def drafts(self, rows: int) -> bool:
        """Whether the next step of so many rows is to be a speculative one."""
        level = self._level(rows)
        if not level.known:
            return self._worth_a_trial(rows) and level.speculative.count <= level.plain.count
        if level.paid != level.pays:
            level.paid, level.trial, level.since, level.wait = level.pays, 0, 0, _SOON
        if level.trial > 0:
            level.trial -= 1
            return not level.pays
        level.since += 1
        if level.since >= level.wait:
            # One kind of step is seldom made where the other is better, and what is known of it grows old.
            level.since, level.wait, level.trial = 0, min(2 * level.wait, _LATE), _TRIAL - 1
            return not level.pays
        return level.pays

    def pays(self, rows: int) -> bool | None:
        """Whether speculation is known to pay; None = not known yet."""
        level = self._level(rows)
        return level.pays if level.known else None

    def least(self, rows: int) -> float:
        """The chance of standing below which one more drafted token is not worth its time: ρ·(c + c_v), from the times
        seen; 0.4 until there are enough."""
        level = self._level(rows)
        if not level.known:
            return 0.4
        verifying = max(0.0, level.verifying.value - level.step.value) / max(level.drafted.value, 1.0)
        return (level.drafting.value + verifying) / level.speculative.value

    def saw_plain(self, rows: int, seconds: float) -> None:
        """A plain step of so many rows."""
        level = self._level(rows)
        level.plain.add(seconds, rows)
        level.step.add(seconds, 1)

    def saw_round(self, rows: int, *, tokens: int, drafted: int, drafting: float, verifying: float) -> None:
        """A speculative round. tokens: that it gave. drafting, verifying: seconds of its two parts."""
        level = self._level(rows)
        level.speculative.add(drafting + verifying, tokens)
        if drafted:
            level.drafting.add(drafting, drafted)
            level.verifying.add(verifying, 1)
            level.drafted.add(drafted, 1)

    def _worth_a_trial(self, rows: int) -> bool:
        return rows <= _FEW or self._level(rows // 2).pays

    def _level(self, rows: int) -> _Level:
        return self._levels.setdefault(rows.bit_length(), _Level())


@dataclass(frozen=True, slots=True)
class Paced(Stateless):
    """`specdec++` whose threshold h = 1 − least follows the times that its `pace` sees. multiplier: as tuned with the
    head (`specdec.stopping`)."""

    pace: Pace
    multiplier: float = 1.0
    maximum: int = LIMIT
    needs: frozenset[Need] = frozenset({"head"})

    def limit(self, batch: int) -> int:
        return self.maximum

    def go_on(self, trail: Sequence[Signal], batch: int) -> bool:
        least = min(0.95, max(0.05, self.multiplier * self.pace.least(batch)))
        return math.prod([signal.accept for signal in trail]) >= least
