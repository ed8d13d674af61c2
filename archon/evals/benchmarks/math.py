r"""`math`: competition problems (Hendrycks et al. 2021, arXiv 2103.03874) from a JSONL file.

Each line holds `problem` (or `question`) and `answer`, or a `solution` whose last `\boxed{…}` is the answer. Answers
are compared by symbolic equality. `level` and `type` are kept beside the question.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from archon.errors import ConfigError
from archon.evals.benchmarks.base import FileOptions, QuestionSet, question_id, read_options
from archon.evals.benchmarks.jsonl import distinct, instructed
from archon.evals.benchmarks.records import Record, read_records
from archon.evals.benchmarks.splits import cut, deal
from archon.evals.scorers import MathScorer
from archon.latex import boxed, normalise
from archon.types import Question, Split, user

HINT = "the path of a JSONL file with `problem` and `answer` or `solution`, e.g. MATH-500's test.jsonl"
INSTRUCTION = r"Put the final answer in \boxed{}."
USUAL: Mapping[Split, int | None] = MappingProxyType({"search": 120, "selection": 300, "held_out": 600})


class MathOptions(FileOptions):
    """Options of `math`."""

    instruction: str = INSTRUCTION
    """Words added after every problem; "" for none."""
    timeout: float = 10.0
    """Seconds one comparison of two answers may take."""


class Math(QuestionSet):
    """The benchmark `math`."""

    options: ClassVar[type[MathOptions]] = MathOptions

    @classmethod
    def load(cls, **options: Any) -> Math:
        """Reads the file. Options: see `MathOptions`.

        Raises:
            ConfigError: a wrong option, or a file that cannot be read as problems; names the line.
            MissingExtraError: no library for symbolic comparison is installed.
        """
        chosen = read_options(MathOptions, "math", options, HINT)
        questions = distinct(read_records(chosen.path), lambda record: _question(record, chosen.instruction))
        splits = cut(deal(questions, chosen.seed), chosen.sizes(USUAL), chosen.explicit(), str(chosen.path))
        scorer = MathScorer(timeout=chosen.timeout)
        return cls(name="math", extractor="math", scorer=scorer, splits=splits, source=str(chosen.path))


def _question(record: Record, instruction: str) -> Question:
    asked = (user(record.text("problem" if "problem" in record.data else "question")),)
    meta = {key: record.data[key] for key in ("level", "type", "subject") if key in record.data}
    return Question(question_id(asked), instructed(asked, instruction), _reference(record), meta)


def _reference(record: Record) -> str:
    if "answer" in record.data or "solution" not in record.data:
        written: str | None = record.text("answer")
    else:
        box = boxed(record.text("solution"))
        written = box.content if box else None
    reference = normalise(written or "")
    if reference is None:
        raise ConfigError(rf"{record.where}: no answer; give the field 'answer', or a 'solution' with \boxed{{…}}")
    return reference
