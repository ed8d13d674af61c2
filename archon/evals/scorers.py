"""How answers are scored against a reference: exact (number, choice, text) and symbolic (math).

A text without an answer scores 0. Where the scorer itself fails (no usable reference, no verdict in time) the value is
None, which is not 0 and stays out of every mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Literal

from archon.errors import MissingExtraError
from archon.evals.symbolic.tokens import UnreadableError
from archon.evals.symbolic.worker import ComparisonError, SymbolicWorker
from archon.extract import extractor, math
from archon.latex import boxed, normalise
from archon.protocols import Context, Scorer
from archon.types import Completion, Question, Score


@dataclass(frozen=True, slots=True)
class ExactScorer:
    """1 where the answer that `kind` (an extractor's name) reads in the text is the reference's, else 0."""

    kind: str

    async def score(self, question: Question, answer: Completion, ctx: Context | None = None) -> Score:
        """The score; None only where the question has no readable reference."""
        read = extractor(self.kind)
        expected = read(question.reference) if question.reference else None
        if expected is None:
            return Score(None, explanation=f"the question has no reference that reads as {self.kind}")
        found = read(answer.text)
        if found is None:
            return Score(0.0, None, f"the answer holds no {self.kind}")
        return Score(float(found == expected), found)


@dataclass(frozen=True)
class MathScorer:
    """1 where the answer equals the reference as mathematics, else 0.

    Equal spellings need no library. Otherwise math-verify compares where it is installed, else sympy, in a process
    that is killed when its time is over. An answer that the reader cannot follow is judged by its spelling alone.

    Args:
        engine: "auto" takes math-verify where it is installed.
        timeout: seconds one comparison may take; after that the question is unscored.

    Raises:
        MissingExtraError: neither library is installed.
    """

    engine: Literal["auto", "sympy", "math-verify"] = "auto"
    timeout: float = 10.0
    _worker: SymbolicWorker = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_worker", SymbolicWorker(_installed(self.engine), self.timeout))

    async def score(self, question: Question, answer: Completion, ctx: Context | None = None) -> Score:
        """The score; None where the comparison gave no verdict in time or the question has no reference."""
        if not question.reference:
            return Score(None, explanation="the question has no reference")
        reference = question.reference
        expected = math(reference) if boxed(reference) else normalise(reference)
        found = math(answer.text)
        if found is None:
            return Score(0.0, None, "the answer holds no formula")
        if found == expected:
            return Score(1.0, found)
        try:
            return Score(float(await self._worker.equal(expected or "", found)), found)
        except UnreadableError as error:
            return Score(0.0, found, f"spelt differently, and not comparable as mathematics ({error})")
        except ComparisonError as error:
            return Score(None, found, f"not compared: {error}")


def _installed(engine: str) -> str:
    if engine in ("auto", "math-verify") and find_spec("math_verify"):
        return "math-verify"
    if engine in ("auto", "sympy") and find_spec("sympy"):
        return "sympy"
    raise MissingExtraError("symbolic comparison of answers", "data")


def scorer_for(kind: str) -> Scorer:
    """The scorer of answers of a kind: number, choice, text, math."""
    return MathScorer() if kind == "math" else ExactScorer(kind)
