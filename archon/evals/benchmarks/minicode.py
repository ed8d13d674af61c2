"""`minicode`: one-line Python functions asked for in a sentence with three examples, scored by hidden tests.

The splits share no chain of steps: a question of one split never comes again in another with other numbers, and the
zoo's models were trained on chains of the family's own training split alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from archon.errors import ConfigError
from archon.evals.benchmarks.base import SPLITS, QuestionSet, SizeOptions, question_id, read_options
from archon.evals.code_scorer import CodeScorer, CodeTask
from archon.types import Question, Split, user

USUAL: Mapping[Split, int] = MappingProxyType({"search": 120, "selection": 300, "held_out": 600})


class MinicodeOptions(SizeOptions):
    """Options of `minicode`; the defaults are the difficulty that the zoo's models were trained on."""

    steps: tuple[int, int] = (2, 4)
    """Fewest and most steps of a function, within 1..5."""


class Minicode(QuestionSet):
    """The benchmark `minicode`."""

    options: ClassVar[type[MinicodeOptions]] = MinicodeOptions

    @classmethod
    def load(cls, **options: Any) -> Minicode:
        """Makes the questions. Options: see `MinicodeOptions`.

        Raises:
            ConfigError: a wrong option, or too few distinct tasks.
        """
        chosen = read_options(MinicodeOptions, "minicode", options)
        sizes = chosen.sizes(USUAL)
        splits = {split: _tasks(chosen, split, sizes[split] or 0) for split in SPLITS}
        return cls(name="minicode", extractor="code", scorer=CodeScorer(), splits=splits, source=f"seed {chosen.seed}")


def _tasks(options: MinicodeOptions, split: Split, count: int) -> tuple[Question, ...]:
    from archon.zoo.minicode import minicode_tasks

    try:
        found = minicode_tasks(options.seed, count, split=split, steps=options.steps)
    except ValueError as error:
        raise ConfigError(f"benchmark 'minicode': {error}") from None
    return tuple(_question(task) for task in found)


def _question(task: Any) -> Question:
    from archon.zoo.minicode import ENTRY_POINT

    messages = (user(task.question),)
    hidden = [(repr(call.arguments), repr(call.result)) for call in task.tests]
    meta = CodeTask.of(ENTRY_POINT, hidden).to_meta()
    return Question(question_id(messages), messages, None, {**meta, "kind": task.kind})
