"""Bradley–Terry strengths from pairwise comparisons, by an MM algorithm (Hunter, Annals of Statistics 32, 2004)."""

from __future__ import annotations

import math
from collections.abc import Sequence

_TOLERANCE = 1e-10  # of the logarithms; far below any difference that one comparison makes
_ROUNDS = 10_000


def strengths(wins: Sequence[Sequence[float]], prior: float = 1.0) -> tuple[float, ...]:
    """Strengths p > 0 such that i beats j with probability p_i / (p_i + p_j).

    Args:
        wins: wins[i][j] = how often i was preferred to j, ≥ 0; a tie counts one half on both sides.
        prior: games, > 0, that everyone is taken to have played besides against one opponent of strength 1, half of
            them won. It makes the maximum unique and finite, for one who never won, for cycles, for pairs never met.

    The update is p_i ← W_i / Σ_j n_ij / (p_i + p_j), W_i = what i won, n_ij = games of i and j, the prior's opponent
    counted among the j. Each step raises the likelihood.
    """
    size = len(wins)
    won = [sum(row) + prior / 2 for row in wins]
    games = [[wins[i][j] + wins[j][i] for j in range(size)] for i in range(size)]
    current = [1.0] * size
    for _ in range(_ROUNDS):
        updated = [won[i] / _load(i, current, games[i], prior) for i in range(size)]
        moved = max((abs(math.log(new / old)) for new, old in zip(updated, current, strict=True)), default=0.0)
        current = updated
        if moved < _TOLERANCE:
            break
    return tuple(current)


def _load(i: int, current: Sequence[float], games: Sequence[float], prior: float) -> float:
    met = sum(n / (current[i] + strength) for n, strength in zip(games, current, strict=True))
    return met + prior / (current[i] + 1.0)
