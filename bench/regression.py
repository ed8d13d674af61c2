"""Ordinary least squares with standard errors, for the studies: few rows, few columns, nothing hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Fit:
    """y = Σ coefficient · x + intercept; `errors` are the classical standard errors."""

    names: tuple[str, ...]
    coefficients: tuple[float, ...]
    errors: tuple[float, ...]
    intercept: float
    r2: float
    rows: int

    def line(self) -> str:
        """The fit on one line, coefficients with their standard errors."""
        terms = zip(self.names, self.coefficients, self.errors, strict=True)
        shown = ", ".join(f"{name} {value:+.3f} ± {error:.3f}" for name, value, error in terms)
        return f"{shown}, intercept {self.intercept:+.3f}, R² {self.r2:.3f} ({self.rows} rows)"


def standardised(values: Sequence[float]) -> list[float]:
    """Mean 0, standard deviation 1; all zero where the values are equal."""
    spread = float(np.std(values))
    return [(value - float(np.mean(values))) / spread if spread else 0.0 for value in values]


def least_squares(predictors: Mapping[str, Sequence[float]], target: Sequence[float]) -> Fit:
    """Fits `target` by `predictors` and an intercept.

    Raises:
        ValueError: fewer rows than coefficients, or predictors that depend on each other.
    """
    y = np.asarray(target, dtype=float)
    x = np.column_stack([*(np.asarray(column, dtype=float) for column in predictors.values()), np.ones(len(y))])
    freedom = len(y) - x.shape[1]
    if freedom < 1 or np.linalg.matrix_rank(x) < x.shape[1]:
        raise ValueError(f"{len(y)} rows cannot tell {x.shape[1]} coefficients apart; take more or other mixes")
    solution = np.linalg.solve(x.T @ x, x.T @ y)
    rest = y - x @ solution
    errors = np.sqrt(np.diag(np.linalg.inv(x.T @ x)) * (rest @ rest) / freedom)
    total = float(((y - y.mean()) ** 2).sum())
    r2 = 1 - float(rest @ rest) / total if total else 0.0
    slopes, spreads = tuple(map(float, solution[:-1])), tuple(map(float, errors[:-1]))
    return Fit(tuple(predictors), slopes, spreads, float(solution[-1]), r2, len(y))
