"""Least squares against a case worked by hand."""

import pytest

from bench.regression import least_squares, standardised


def test_a_plane_is_found_exactly() -> None:
    q, d = [0.0, 1.0, 2.0, 3.0], [1.0, 0.0, 1.0, 0.0]
    fit = least_squares({"q": q, "d": d}, [2 * a - b + 5 for a, b in zip(q, d, strict=True)])
    assert fit.coefficients == pytest.approx((2.0, -1.0))
    assert fit.intercept == pytest.approx(5.0)
    assert fit.r2 == pytest.approx(1.0)


def test_standard_errors_of_a_known_line() -> None:
    # y = 1, 3, 2 over x = 0, 1, 2: slope 0.5, intercept 1.5, residuals -0.5, 1, -0.5, squares 1.5 over 1 degree of
    # freedom; Σ(x - x̄)² = 2, so the slope's error is √(1.5 / 2) = 0.8660. R² = 1 - 1.5 / 2 = 0.25.
    fit = least_squares({"x": [0.0, 1.0, 2.0]}, [1.0, 3.0, 2.0])
    assert fit.coefficients[0] == pytest.approx(0.5)
    assert fit.errors[0] == pytest.approx(0.8660, abs=1e-4)
    assert fit.r2 == pytest.approx(0.25)


def test_dependent_predictors_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot tell"):
        least_squares({"a": [1.0, 2.0, 3.0, 4.0], "b": [2.0, 4.0, 6.0, 8.0]}, [1.0, 2.0, 3.0, 4.0])


def test_standardised_values_have_mean_0_and_deviation_1() -> None:
    assert standardised([1.0, 3.0]) == [-1.0, 1.0]
    assert standardised([2.0, 2.0]) == [0.0, 0.0]
