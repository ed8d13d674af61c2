"""What a search maximises, and how a proposed system is called."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from archon.errors import ConfigError
from archon.search.build import FAMILY, Assignment
from archon.search.space import Value
from archon.search.store import Measurement


def objective(measured: Measurement, cost_weight: float) -> float | None:
    """Quality on its split, less `cost_weight` for every US dollar a question costs; None where nothing was scored."""
    if not cost_weight or measured.quality is None:
        return measured.quality
    if measured.usd is None:
        raise ConfigError(
            f"a cost weight needs prices, and {measured.name!r} has none; add `price` to its models' rows"
        )
    return measured.quality - cost_weight * measured.usd


def best_first(measured: Iterable[Measurement], cost_weight: float) -> list[Measurement]:
    """By objective, then by cost; what could not be scored stands last."""

    def rank(each: Measurement) -> tuple[Any, ...]:
        value = objective(each, cost_weight)
        return (value is None, -(value or 0.0), *each.cost_key)

    return sorted(measured, key=rank)


def label(chosen: Assignment) -> str:
    """An assignment in words."""
    parts = []
    for name, value in chosen.items():
        if name != FAMILY:
            parts.append(f"{name} {_shown(value)}")
    return f"{chosen[FAMILY]}: {', '.join(parts)}" if parts else str(chosen[FAMILY])


def _shown(value: Value) -> str:
    if isinstance(value, tuple):
        return "+".join(value)
    return {True: "yes", False: "no", None: "none"}[value] if value is None or isinstance(value, bool) else str(value)
