"""Pairwise ranking: every pair in both orders, aggregated to Bradley–Terry strengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, permutations

from archon.protocols import Preference
from layers._asking import Asking, Chunk
from layers._attempts import attempted
from layers._bradley_terry import strengths

Pair = tuple[int, int]


async def pairwise(candidates: Chunk, asking: Asking) -> Chunk:
    """All candidates, best first, with scores where any comparison was made."""
    seen = [asking.content((each,)) for each in candidates]
    pairs = [(i, j) for i, j in permutations(range(len(candidates)), 2) if seen[i] != seen[j]]
    for i, j in pairs:
        asking.require_fit((candidates[i], candidates[j]))
    outcomes = await attempted([asking.ask((candidates[i], candidates[j])) for i, j in pairs], asking.ctx, "comparison")
    told = {pair: each.first for pair, each in zip(pairs, outcomes, strict=True) if isinstance(each, Preference)}
    if pairs and not told:
        asking.ctx.note("fallback", f"none of {len(pairs)} comparisons could be parsed; the given order is kept")
        return candidates
    ties = [(i, j) for i, j in combinations(range(len(candidates)), 2) if seen[i] == seen[j]]
    return _by_strength(candidates, strengths(_wins(len(candidates), told, ties)))


def _wins(size: int, told: dict[Pair, float], ties: Sequence[Pair]) -> list[list[float]]:
    """wins[i][j]: how often i was preferred to j. An equal pair counts as compared in both orders, undecided."""
    wins = [[0.0] * size for _ in range(size)]
    for (i, j), first in told.items():
        wins[i][j] += first
        wins[j][i] += 1.0 - first
    for i, j in ties:
        wins[i][j] = wins[j][i] = 1.0
    return wins


def _by_strength(candidates: Chunk, strong: Sequence[float]) -> Chunk:
    """Strongest first; strengths equal but for rounding keep the given order."""
    order = sorted(range(len(candidates)), key=lambda index: (-round(strong[index], 6), index))
    return tuple(replace(candidates[index], score=strong[index] / (1.0 + strong[index])) for index in order)
