"""Student's quantiles against the printed table."""

from __future__ import annotations

import pytest

from archon.evals.student import student_quantile


@pytest.mark.parametrize(
    ("freedom", "printed"), [(1, 12.706), (2, 4.303), (3, 3.182), (10, 2.228), (30, 2.042), (120, 1.980)]
)
def test_two_sided_five_percent_points(freedom: int, printed: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(printed, abs=5e-4)


def test_it_approaches_the_normal_distribution() -> None:
    assert student_quantile(0.975, 100_000) == pytest.approx(1.959964, abs=1e-4)
