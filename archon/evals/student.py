"""Quantiles of Student's t distribution for whole degrees of freedom, exact to rounding."""

from __future__ import annotations

import math


def student_quantile(probability: float, freedom: int) -> float:
    """The t with P(T ≤ t) = `probability`, for 0.5 ≤ probability < 1 and freedom ≥ 1, by bisection."""
    high = 1.0
    while _cumulative(high, freedom) < probability:
        high *= 2
    low = 0.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _cumulative(middle, freedom) < probability else (low, middle)
    return high


def _cumulative(t: float, freedom: int) -> float:
    """P(T ≤ t) for t ≥ 0 (Abramowitz & Stegun 26.7.3 and 26.7.4: a finite sum for whole degrees of freedom)."""
    theta = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(theta)
    total = term = cosine if freedom % 2 else 1.0
    for k in range(3 if freedom % 2 else 2, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    if freedom == 1:
        return 0.5 + theta / math.pi
    if freedom % 2:
        return 0.5 + (theta + math.sin(theta) * total) / math.pi
    return 0.5 + math.sin(theta) * total / 2
