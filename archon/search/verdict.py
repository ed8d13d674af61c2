"""What the comparison on held-out questions means, in plain words."""

from __future__ import annotations

from archon.evals.metrics import Difference
from archon.search.store import Measurement


def outcome(difference: Difference) -> str:
    """better, worse or undecided: by the 95 % interval of the paired difference."""
    if difference.ci95.low > 0:
        return "better"
    return "worse" if difference.ci95.high < 0 else "undecided"


def verdict(winner: Measurement, single: Measurement, vs_single: Difference, vs_vote: Difference) -> str:
    """One or two sentences."""
    if winner.hash == single.hash:
        return f"No system beat the best single model: the winner is that model, {single.name}."
    against_single = _words(vs_single, f"the best single model ({single.name})")
    return f"The winner {against_single}, and {_words(vs_vote, 'the equal-cost vote')}."


def points(difference: Difference) -> str:
    """A difference with its interval, in percentage points."""
    low, high = difference.ci95
    return f"{100 * difference.mean:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}"


def _words(difference: Difference, other: str) -> str:
    head = {
        "better": f"is better than {other}",
        "worse": f"is worse than {other}",
        "undecided": f"cannot be told apart from {other}",
    }[outcome(difference)]
    return f"{head} ({points(difference)}; {difference.questions:,} questions)"
