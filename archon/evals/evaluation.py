"""The result of asking an architecture a set of questions: one outcome a question, and what they add up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from archon.evals.metrics import Difference, Interval, mean_interval, paired_difference
from archon.types import Score, Usage


@dataclass(frozen=True, slots=True)
class Outcome:
    """One question, asked once."""

    question_id: str
    score: Score
    """A run that gave no answer scores 0, with the cause: who asks such a system gets nothing. A `value` of None means
    that the scorer failed or, together with an `error`, that an endpoint dropped out."""
    list_usage: Usage = Usage()
    """What it would have cost with no cache."""
    spend: Usage = Usage()
    """What was really called and paid."""
    latency: float = 0.0
    """Seconds of the longest path over recorded call latencies."""
    cached_calls: int = 0
    answer: str = ""
    """The answer's text; empty where the run failed."""
    error: str | None = None
    """Why the run gave no answer; None = it did."""

    @property
    def unreached(self) -> bool:
        """Whether it has no answer because an endpoint dropped out; asking again may give one."""
        return self.error is not None and self.score.value is None


@dataclass(frozen=True)
class Evaluation:
    """Outcomes in the order of the questions. Where `stopped` says why, the rest of the questions were not asked."""

    outcomes: tuple[Outcome, ...]
    asked: int
    """Questions there were to ask."""
    stopped: str | None = None
    """Why it ended early (the budget's refusal, an endpoint that dropped out); None = every question was asked."""

    @property
    def complete(self) -> bool:
        """Whether every question has an outcome."""
        return len(self.outcomes) == self.asked

    @cached_property
    def scores(self) -> Mapping[str, float]:
        """Score by question id, without the unscored."""
        return {o.question_id: o.score.value for o in self.outcomes if o.score.value is not None}

    @property
    def mean(self) -> float | None:
        """Mean score over the scored questions; None where there is none."""
        return fmean(self.scores.values()) if self.scores else None

    @property
    def ci95(self) -> Interval | None:
        """95 % interval of the mean; None where nothing was scored."""
        return mean_interval(list(self.scores.values())) if self.scores else None

    @property
    def unscored(self) -> int:
        """Questions whose scorer failed, or whose endpoint dropped out."""
        return len(self.outcomes) - len(self.scores)

    @property
    def errors(self) -> Counter[str]:
        """Why runs gave no answer, and how often."""
        return Counter(outcome.error for outcome in self.outcomes if outcome.error is not None)

    @property
    def silent(self) -> bool:
        """Whether not one question was answered."""
        return bool(self.outcomes) and all(outcome.error is not None for outcome in self.outcomes)

    @property
    def outage(self) -> str | None:
        """How an endpoint dropped out; None = none did."""
        return next((outcome.error for outcome in self.outcomes if outcome.unreached), None)

    @cached_property
    def list_usage(self) -> Usage:
        """Sum over the questions."""
        return Usage.total(outcome.list_usage for outcome in self.outcomes)

    @cached_property
    def spend(self) -> Usage:
        """Sum over the questions."""
        return Usage.total(outcome.spend for outcome in self.outcomes)

    @property
    def cached_calls(self) -> int:
        """Calls answered from the cache."""
        return sum(outcome.cached_calls for outcome in self.outcomes)

    @property
    def calls_per_question(self) -> float:
        """List calls per question asked; 0 where none was."""
        return self.list_usage.calls / len(self.outcomes) if self.outcomes else 0.0

    @property
    def usd_per_question(self) -> float | None:
        """List cost per question asked; None where a price is unknown or nothing was asked."""
        cost = self.list_usage.cost_usd
        return cost / len(self.outcomes) if cost is not None and self.outcomes else None

    @property
    def latency(self) -> float:
        """Mean list latency of a question, seconds; 0 where none was asked."""
        return fmean(outcome.latency for outcome in self.outcomes) if self.outcomes else 0.0

    def minus(self, other: Evaluation) -> Difference:
        """How much better this one scored, over the questions scored in both. Raises ValueError where there is none."""
        common = [question for question in self.scores if question in other.scores]
        return paired_difference([self.scores[q] for q in common], [other.scores[q] for q in common])
