"""`gsm8k`: grade-school word problems (Cobbe et al. 2021, arXiv 2110.14168) from the data set's own JSONL file.

Each line holds `question` and `answer`, a worked solution that ends in `#### N`; answers are compared as numbers.
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
from archon.evals.scorers import ExactScorer
from archon.extract import stated_number
from archon.types import Question, Split, user

HINT = "the path of test.jsonl (plain or .gz) from github.com/openai/grade-school-math"
USUAL: Mapping[Split, int | None] = MappingProxyType({"search": 120, "selection": 300, "held_out": 600})
"""Of the 1,319 test questions, 15 %, 25 % and 60 % stand ready for the splits."""


class Gsm8k(QuestionSet):
    """The benchmark `gsm8k`."""

    options: ClassVar[type[FileOptions]] = FileOptions

    @classmethod
    def load(cls, **options: Any) -> Gsm8k:
        """Reads the file. Options: see `FileOptions`.

        Raises:
            ConfigError: a wrong option, or a file that cannot be read as questions; names the line.
        """
        chosen = read_options(FileOptions, "gsm8k", options, HINT)
        questions = distinct(read_records(chosen.path), lambda record: _question(record, chosen.instruction))
        splits = cut(deal(questions, chosen.seed), chosen.sizes(USUAL), chosen.explicit(), str(chosen.path))
        scorer = ExactScorer("number")
        return cls(name="gsm8k", extractor="number", scorer=scorer, splits=splits, source=str(chosen.path))


def _question(record: Record, instruction: str) -> Question:
    asked = (user(record.text("question")),)
    solution = record.text("answer")
    reference = stated_number(solution if "####" in solution else f"#### {solution}")
    if reference is None:
        raise ConfigError(f"{record.where}: field 'answer' ends in no number; it should end in '#### N'")
    return Question(question_id(asked), instructed(asked, instruction), reference)
