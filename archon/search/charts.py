"""Geometry of the report's charts: values become positions, ticks and paths; the template draws them.

Pure arithmetic, no text is made here but tick labels, so nothing needs escaping but in the template.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 720.0, 340.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 16.0, 14.0, 44.0


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Axis:
    """Values to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value, rounded to a tenth."""
        low, high, here = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        share = (here - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, label: Callable[[float], str]) -> list[Tick]:
        """Round values inside the axis."""
        values = _powers(self.low, self.high) if self.log else _steps(self.low, self.high)
        return [Tick(self.at(value), label(value)) for value in values]


def across(values: Sequence[float]) -> Axis:
    """A horizontal axis over costs: logarithmic where they are positive and far apart."""
    low, high = min(values), max(values)
    if low > 0 and high / low > 6:
        return Axis(low / 1.25, high * 1.25, LEFT, WIDTH - RIGHT, log=True)
    pad = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return Axis(max(0.0, low - pad) if low >= 0 else low - pad, high + pad, LEFT, WIDTH - RIGHT)


def upward(values: Sequence[float]) -> Axis:
    """A vertical axis over qualities in [0, 1]."""
    low, high = min(values), max(values)
    pad = max(0.02, (high - low) * 0.08)
    return Axis(max(0.0, low - pad), min(1.0, high + pad), HEIGHT - BOTTOM, TOP)


def steps_path(points: Sequence[tuple[float, float]]) -> str:
    """A path that goes right, then up or down, from point to point."""
    if not points:
        return ""
    head, *rest = points
    return f"M{head[0]:g},{head[1]:g}" + "".join(f"H{x:g}V{y:g}" for x, y in rest)


def money(value: float) -> str:
    """US dollars, short: $0.0042, $1.2e-06."""
    if value == 0:
        return "$0"
    return f"${value:.2g}" if abs(value) >= 1e-4 else "$" + f"{value:.1e}".replace("e-0", "e-")


def number(value: float) -> str:
    """A plain number, short."""
    return f"{value:g}"


def percent(value: float) -> str:
    """A share as whole per cent, or with a digit where needed."""
    return f"{100 * value:.4g} %"


def _steps(low: float, high: float) -> list[float]:
    """Four to eight multiples of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    raw = (high - low) / 5
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _powers(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten; powers alone where that is many."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    multiples = (1, 2, 5) if len(exponents) <= 3 else (1,)
    found = [m * 10.0**e for e in exponents for m in multiples]
    return [float(f"{value:.6g}") for value in found if low <= value <= high]
