"""What several samples of one question would give: pass@k and the majority of k, exactly, from n recorded samples."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Probability that k of `samples` draws, taken without replacement, hold a correct one: 1 − C(n−c, k) / C(n, k).

    The unbiased estimate of pass@k (Chen et al. 2021, arXiv 2107.03374, equation 1).

    Raises:
        ValueError: not 1 ≤ k ≤ samples, or not 0 ≤ correct ≤ samples.
    """
    if not (1 <= k <= samples and 0 <= correct <= samples):
        raise ValueError(f"needs 1 ≤ k ≤ samples and 0 ≤ correct ≤ samples, got {k=}, {samples=}, {correct=}")
    return 1 - math.comb(samples - correct, k) / math.comb(samples, k)


def majority_at_k(counts: Mapping[str, int], correct: Collection[str], k: int, silent: int = 0) -> float:
    """Probability that the most frequent answer of k draws without replacement is correct.

    This is what self-consistency (arXiv 2203.11171) would reach with k samples.

    Args:
        counts: how often each answer was given among the recorded samples.
        correct: the answers that are right.
        silent: recorded samples without an answer; they have no vote.

    Ties go to each of the tied answers alike, as "the first to reach it" does over draws in random order.

    Raises:
        ValueError: k is not between 1 and the number of samples.
    """
    total = sum(counts.values()) + silent
    if not 1 <= k <= total:
        raise ValueError(f"needs 1 ≤ k ≤ {total} recorded samples, got {k=}")
    ways = sum(_wins(counts, answer, k, silent) for answer in counts if answer in correct)
    return ways / math.comb(total, k)


def _wins(counts: Mapping[str, int], answer: str, k: int, silent: int) -> float:
    """Ways to draw k samples in which `answer` leads, a tie of m counting 1/m."""
    others = [count for other, count in counts.items() if other != answer]
    won = 0.0
    for votes in range(1, min(counts[answer], k) + 1):
        for (drawn, tied), ways in _draws(others, silent, votes, k - votes).items():
            if drawn == k - votes:
                won += math.comb(counts[answer], votes) * ways / (tied + 1)
    return won


def _draws(others: list[int], silent: int, votes: int, room: int) -> dict[tuple[int, int], int]:
    """Ways by (samples drawn, answers that tie) to draw at most `room` from the others, none with more than `votes`."""
    table = {(drawn, 0): math.comb(silent, drawn) for drawn in range(min(silent, room) + 1)}
    for count in others:
        grown: dict[tuple[int, int], int] = {}
        for (drawn, tied), ways in table.items():
            for more in range(min(count, votes, room - drawn) + 1):
                state = (drawn + more, tied + (more == votes))
                grown[state] = grown.get(state, 0) + ways * math.comb(count, more)
        table = grown
    return table
