"""`ledger`: word problems with one exact integer answer, made from a seed; nothing to download.

Which split a problem belongs to is decided by the family's own hash partition, which keeps apart what the zoo's models
were trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import Field

from archon.errors import ConfigError
from archon.evals.benchmarks.base import SPLITS, QuestionSet, SizeOptions, question_id, read_options
from archon.evals.scorers import ExactScorer
from archon.types import Question, Split, user

USUAL: Mapping[Split, int] = MappingProxyType({"search": 120, "selection": 300, "held_out": 600})


class LedgerOptions(SizeOptions):
    """Options of `ledger`; the defaults are the difficulty that the zoo's models were trained on."""

    steps: tuple[int, int] = (2, 4)
    """Fewest and most steps of a problem, within 2..4."""
    largest: int = Field(default=300, ge=60)
    """Largest number in a problem, results included."""
    kinds: dict[str, float] | tuple[str, ...] | None = None
    """The kinds of story, or their weights; None = all alike."""


class Ledger(QuestionSet):
    """The benchmark `ledger`."""

    options: ClassVar[type[LedgerOptions]] = LedgerOptions

    @classmethod
    def load(cls, **options: Any) -> Ledger:
        """Makes the questions. Options: see `LedgerOptions`.

        Raises:
            ConfigError: a wrong option, or a difficulty that leaves too few distinct problems.
        """
        chosen = read_options(LedgerOptions, "ledger", options)
        sizes = chosen.sizes(USUAL)
        splits = {split: _problems(chosen, split, sizes[split] or 0) for split in SPLITS}
        source = f"seed {chosen.seed}"
        return cls(name="ledger", extractor="number", scorer=ExactScorer("number"), splits=splits, source=source)


def _problems(options: LedgerOptions, split: Split, count: int) -> tuple[Question, ...]:
    from archon.zoo.ledger import KINDS, ledger_problems

    kinds = options.kinds or tuple(KINDS)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ConfigError(f"benchmark 'ledger': option 'kinds': no kind {unknown[0]!r}; known: {', '.join(KINDS)}")
    try:
        found = ledger_problems(
            options.seed, count, split=split, steps=options.steps, largest=options.largest, kinds=kinds
        )
    except ValueError as error:
        raise ConfigError(f"benchmark 'ledger': {error}") from None
    return tuple(_question(problem.question, problem.answer, problem.kind) for problem in found)


def _question(text: str, answer: int, kind: str) -> Question:
    messages = (user(text),)
    return Question(question_id(messages), messages, str(answer), {"kind": kind})
