"""What the comparison on held-out questions means, in plain words."""

from __future__ import annotations

from archon.evals.metrics import Difference
from archon.search.store import Measurement

LEVEL = 0.05
"""Of the test."""


def outcome(difference: Difference) -> str:
    """better, worse or undecided: told apart only where the 95 % interval of the paired difference leaves zero out and
    the exact McNemar test (p < 0.05) says so too. The two part ways only at the border; then nothing is claimed."""
    if difference.p_value >= LEVEL or difference.ci95.low <= 0 <= difference.ci95.high:
        return "undecided"
    return "better" if difference.mean > 0 else "worse"


def verdict(
    winner: Measurement, single: Measurement, vote: Measurement, vs_single: Difference, vs_vote: Difference
) -> str:
    """One or two sentences."""
    if winner.hash == single.hash:
        return f"No system beat the best single model: the winner is that model, {single.name}."
    against_single = _words(vs_single, f"the best single model ({single.name})")
    if winner.hash == vote.hash:
        return f"The winner {against_single}; it is the equal-cost vote itself."
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
