"""Scores of single answers: exact, symbolic, and what a scorer that cannot tell says."""

from __future__ import annotations

import asyncio

import pytest

from archon.errors import MissingExtraError
from archon.evals import scorers
from archon.evals.scorers import ExactScorer, MathScorer, scorer_for
from archon.evals.symbolic.worker import ComparisonError, SymbolicWorker
from archon.protocols import Scorer
from archon.types import Completion, Question, Score, Usage, assistant, user


def judge(scorer: Scorer, reference: str | None, said: str) -> Score:
    question = Question("q", (user("?"),), reference)
    return asyncio.run(scorer.score(question, Completion(assistant(said), "m", Usage()), None))


def test_a_number_is_right_only_when_it_is_the_number() -> None:
    scorer = ExactScorer("number")
    assert judge(scorer, "25", "The answer is 25.0").value == 1
    assert judge(scorer, "25", "The answer is 5").value == 0
    assert judge(scorer, "5", "The answer is 25").value == 0
    assert judge(scorer, "1,234.50", "it costs $1234.5") == Score(1.0, "1234.5")


def test_an_answer_that_is_not_there_is_wrong_and_says_why() -> None:
    score = judge(ExactScorer("number"), "5", "I cannot tell.")
    assert (score.value, score.extracted) == (0, None)
    assert "holds no number" in score.explanation


@pytest.mark.parametrize("reference", [None, "", "no idea"])
def test_a_question_without_a_usable_reference_is_unscored(reference: str | None) -> None:
    assert judge(ExactScorer("number"), reference, "5").value is None
    if not reference:
        assert judge(MathScorer(), reference, "5").value is None


def test_text_and_choice_are_compared_exactly() -> None:
    assert judge(ExactScorer("text"), "Blue Whale", " the blue whale. ").value == 0
    assert judge(ExactScorer("text"), "Blue Whale", " blue  whale. ").value == 1
    assert judge(ExactScorer("choice"), "B", "so the answer is (B)").value == 1


def test_math_accepts_what_is_equal_and_refuses_what_is_not() -> None:
    scorer = MathScorer(engine="sympy", timeout=60.0)
    assert judge(scorer, r"2\sqrt{2}", r"so \boxed{\sqrt{8}}").value == 1
    assert judge(scorer, r"\boxed{\frac{1}{2}}", "0.5").value == 1
    assert judge(scorer, "25", r"\boxed{5}").value == 0
    named = judge(scorer, r"\text{Evelyn}", r"\boxed{\text{Briana}}")
    assert named.value == 0
    assert "spelt differently" in named.explanation
    assert judge(scorer, "25", "?").value == 0


def test_a_comparison_without_a_verdict_leaves_the_question_unscored(monkeypatch: pytest.MonkeyPatch) -> None:
    async def overrun(self: SymbolicWorker, reference: str, answer: str) -> bool:
        raise ComparisonError("no verdict within 10 s")

    monkeypatch.setattr(SymbolicWorker, "equal", overrun)
    score = judge(MathScorer(), "x+1", r"\boxed{1+x+y-y}")
    assert (score.value, score.extracted) == (None, "1+x+y-y")
    assert "no verdict within 10 s" in score.explanation


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorers, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"archon-engine\[data\]"):
        MathScorer()


def test_math_verify_is_taken_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorers, "find_spec", lambda name: name == "math_verify" or None)
    assert MathScorer()._worker.engine == "math-verify"
    assert MathScorer(engine="math-verify")._worker.engine == "math-verify"


def test_kinds_have_their_scorer() -> None:
    assert isinstance(scorer_for("math"), MathScorer)
    assert scorer_for("number") == ExactScorer("number")
