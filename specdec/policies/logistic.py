"""`logistic`: a two-parameter online estimate of acceptance, σ(w·logit(max q) + b), its product over the block
against a threshold; the estimator vLLM uses to trim verification (there with an intercept for each position).

Newton's method on the logistic likelihood: every round adds its tokens' gradient and curvature at the current (w, b);
every `every` rounds one damped step is taken and the sums fade. Only the tokens up to the first rejection are observed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from specdec.policies.base import LIMIT, Need, Policy, Signal, require


@dataclass(slots=True)
class Logistic:
    """threshold: of the estimated chance that the block stands, in [0, 1]. w, b: start at vLLM's values.

    every: rounds between updates. fade: what is kept of the sums at an update. ridge: pull towards the present values.
    """

    threshold: float = 0.4
    w: float = 0.5
    b: float = -0.2
    every: int = 20
    fade: float = 0.9
    ridge: float = 1.0
    maximum: int = LIMIT
    needs: frozenset[Need] = frozenset({"probs"})
    _rounds: int = field(default=0, init=False)
    _gradient: list[float] = field(default_factory=lambda: [0.0, 0.0], init=False)
    _curvature: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0], init=False)

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 1, "threshold must lie in [0, 1]", self.threshold)

    def limit(self, batch: int) -> int:
        return self.maximum

    def go_on(self, trail: Sequence[Signal], batch: int) -> bool:
        return math.prod(self.chance(signal) for signal in trail) >= self.threshold

    def chance(self, signal: Signal) -> float:
        """The estimated probability that the token is accepted."""
        return sigmoid(self.w * logit(signal.max_prob) + self.b)

    def learn(self, trail: Sequence[Signal], accepted: int) -> None:
        for index, signal in enumerate(trail[: accepted + 1]):
            self._observe(logit(signal.max_prob), 1.0 if index < accepted else 0.0)
        self._rounds += 1
        if self._rounds % self.every == 0:
            self._step()

    def for_row(self) -> Policy:
        """Itself: the estimate belongs to the model pair and is shared by all rows, so lengths (never the law of the
        text) depend on the rows decoded before."""
        return self

    def _observe(self, x: float, accepted: float) -> None:
        chance = sigmoid(self.w * x + self.b)
        weight = chance * (1 - chance)
        for i, value in enumerate((x, 1.0)):
            self._gradient[i] += (accepted - chance) * value
        for i, value in enumerate((x * x, x, 1.0)):
            self._curvature[i] += weight * value

    def _step(self) -> None:
        xx, x1, one = self._curvature[0] + self.ridge, self._curvature[1], self._curvature[2] + self.ridge
        det = xx * one - x1 * x1
        gx, g1 = self._gradient
        self.w += (one * gx - x1 * g1) / det
        self.b += (xx * g1 - x1 * gx) / det
        # The gradient was taken at the old (w, b) and is spent; the curvature is what the past still weighs.
        self._gradient = [0.0, 0.0]
        self._curvature = [value * self.fade for value in self._curvature]


def logit(p: float) -> float:
    """log(p/(1−p)), with p kept 1e-6 away from 0 and 1: a float32 probability is often exactly 1."""
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))


def sigmoid(x: float) -> float:
    """1/(1+e^−x) without overflow for any finite x."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
