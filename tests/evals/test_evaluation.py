"""What outcomes add up to."""

from __future__ import annotations

import pytest

from archon.evals.evaluation import Evaluation, Outcome
from archon.evals.metrics import wilson
from archon.types import Score, Usage


def outcome(name: str, value: float | None, **rest: object) -> Outcome:
    return Outcome(name, Score(value), **rest)  # type: ignore[arg-type]


def test_the_unscored_stay_out_of_the_mean() -> None:
    result = Evaluation((outcome("a", 1.0), outcome("b", None), outcome("c", 0.0), outcome("d", 1.0)), 4)
    assert result.mean == pytest.approx(2 / 3)
    assert result.ci95 == wilson(2, 3)
    assert result.unscored == 1
    assert result.complete


def test_nothing_scored_has_no_mean() -> None:
    result = Evaluation((outcome("a", None),), 2, "the budget")
    assert result.mean is None
    assert result.ci95 is None
    assert not result.complete


def test_books_are_summed_over_questions() -> None:
    books = (Usage(2, 10, 5, 0, 0.25, 1.0), Usage(4, 20, 5, 0, 0.75, 3.0))
    result = Evaluation(
        tuple(
            outcome(name, 1.0, list_usage=book, spend=Usage(1), latency=book.seconds, cached_calls=3)
            for name, book in zip("ab", books, strict=True)
        ),
        2,
    )
    assert result.calls_per_question == 3
    assert result.usd_per_question == 0.5
    assert result.spend.calls == 2
    assert result.cached_calls == 6
    assert result.latency == 2


def test_an_unknown_price_stays_unknown() -> None:
    result = Evaluation((outcome("a", 1.0, list_usage=Usage(1, cost_usd=None)),), 1)
    assert result.usd_per_question is None
    empty = Evaluation((), 3, "the budget")
    assert (empty.calls_per_question, empty.usd_per_question, empty.latency) == (0, None, 0)


def test_a_difference_is_taken_over_questions_scored_in_both() -> None:
    first = Evaluation((outcome("a", 1.0), outcome("b", 1.0), outcome("c", None)), 3)
    second = Evaluation((outcome("c", 1.0), outcome("b", 0.0), outcome("a", 1.0)), 3)
    found = first.minus(second)
    assert (found.questions, found.first_only, found.second_only) == (2, 1, 0)
    assert found.mean == 0.5


def test_errors_are_counted() -> None:
    result = Evaluation((outcome("a", 0.0, error="down"), outcome("b", 0.0, error="down"), outcome("c", 1.0)), 3)
    assert result.errors == {"down": 2}
