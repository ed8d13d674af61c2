"""Bradley–Terry strengths from pairwise comparisons, by an MM algorithm (Hunter, Annals of Statistics 32, 2004)."""

from __future__ import annotations

import math
from collections.abc import Sequence

_TOLERANCE = 1e-9  # of the logarithms; far below any difference that one comparison makes
_ROUNDS = 10_000


def strengths(wins: Sequence[Sequence[float]], prior: float = 1.0) -> tuple[float, ...]:
    """Strengths p > 0 with geometric mean 1, such that i beats j with probability p_i / (p_i + p_j).

    Args:
        wins: wins[i][j] = how often i was preferred to j, ≥ 0 (0 for j = i); a tie counts one half on both sides.
        prior: games, > 0, that every pair is taken to have played besides, undecided. It makes the maximum unique and
            finite, for one who never won, for cycles, for pairs never compared, and the iteration fast.

    The update is p_i ← W_i / Σ_j n_ij / (p_i + p_j), W_i = what i won, n_ij = games of i and j. Each step raises the
    likelihood.
    """
    size = len(wins)
    if size < 2:
        return (1.0,) * size
    counted = [[wins[i][j] + prior / 2 if i != j else 0.0 for j in range(size)] for i in range(size)]
    games = [[counted[i][j] + counted[j][i] for j in range(size)] for i in range(size)]
    current = [1.0] * size
    for _ in range(_ROUNDS):
        updated = _centred([sum(counted[i]) / _met(i, games[i], current) for i in range(size)])
        moved = max(abs(math.log(new / old)) for new, old in zip(updated, current, strict=True))
        current = updated
        if moved < _TOLERANCE:
            break
    return tuple(current)


def _met(i: int, games: Sequence[float], current: Sequence[float]) -> float:
    return sum(n / (current[i] + strength) for n, strength in zip(games, current, strict=True))


def _centred(values: Sequence[float]) -> list[float]:
    """The values over their geometric mean: only ratios matter."""
    mean = math.exp(math.fsum(map(math.log, values)) / len(values))
    return [value / mean for value in values]
