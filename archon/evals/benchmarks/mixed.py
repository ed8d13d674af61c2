"""Several benchmarks as one, named with `+` between them: `ledger+minicode`.

The questions of each split take turns, every question is scored by the scorer of the benchmark it came from, and
`kind` in its `meta` names that benchmark, so that reports can tell the families apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import Any

from archon.errors import ConfigError
from archon.evals.benchmarks.base import SPLITS, QuestionSet
from archon.protocols import Benchmark, Context, Scorer
from archon.types import Completion, Question, Score

PART = "benchmark"
_SIZES = ("search", "selection", "held_out", "limit")


@dataclass(frozen=True, slots=True)
class Mixture:
    """A mixed benchmark that is still to be loaded: `classes` by the names of its parts."""

    classes: Mapping[str, Any]

    def load(self, **options: Any) -> QuestionSet:
        """Loads every part and mixes them.

        Options: `seed` goes to each part; a number of questions (`search`, `selection`, `held_out`, `limit`) is that
        of all parts together, shared equally; `PART.option` goes to one part alone.

        Raises:
            ConfigError: an option that is none of these, or one that its part refuses.
        """
        given = [self._options(place, name, options) for place, name in enumerate(self.classes)]
        known = {*_SIZES, "seed"}
        for option in options:
            if option not in known and option.partition(".")[0] not in self.classes:
                raise ConfigError(
                    f"benchmark {'+'.join(self.classes)!r}: option {option!r} belongs to no part; write it with the "
                    f"name of one, e.g. '{next(iter(self.classes))}.{option}'"
                )
        parts = [cls.load(**own) for cls, own in zip(self.classes.values(), given, strict=True)]
        return mixed(dict(zip(self.classes, parts, strict=True)))

    def _options(self, place: int, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        own = {key.removeprefix(f"{name}."): value for key, value in options.items() if key.startswith(f"{name}.")}
        shared = {key: _share(value, place, len(self.classes)) for key, value in options.items() if key in _SIZES}
        seed = {"seed": options["seed"]} if "seed" in options else {}
        return {**seed, **shared, **own}


def mixed(parts: Mapping[str, Benchmark]) -> QuestionSet:
    """One benchmark of several, their questions taking turns."""
    splits = {split: tuple(_turns([_marked(name, part, split) for name, part in parts.items()])) for split in SPLITS}
    return QuestionSet(
        name="+".join(parts),
        extractor="+".join(dict.fromkeys(sorted((part.extractor for part in parts.values()), key=_strictness))),
        scorer=MixedScorer({name: part.scorer for name, part in parts.items()}),
        splits=splits,
        source=" and ".join(parts),
    )


@dataclass(frozen=True, slots=True)
class MixedScorer:
    """Hands each question to the scorer of its own benchmark."""

    scorers: Mapping[str, Scorer]

    @property
    def needs_sandbox(self) -> bool:
        """Whether any part's answers are code."""
        return any(getattr(scorer, "needs_sandbox", False) for scorer in self.scorers.values())

    async def score(self, question: Question, answer: Completion, ctx: Context | None = None) -> Score:
        """The score its own benchmark gives."""
        return await self.scorers[question.meta[PART]].score(question, answer, ctx)


def _marked(name: str, part: Benchmark, split: Any) -> list[Question]:
    try:
        found = part.questions(split)
    except ConfigError:
        return []
    return [replace(one, id=f"{name}:{one.id}", meta={**one.meta, PART: name}) for one in found]


def _turns(parts: Sequence[Sequence[Question]]) -> list[Question]:
    return [question for question in chain.from_iterable(zip_longest(*parts)) if question is not None]


def _strictness(extractor: str) -> bool:
    """Code is looked for first: nearly every text holds a number."""
    return extractor != "code"


def _share(total: Any, place: int, parts: int) -> Any:
    """The share of one part of a number of questions; what is no number is left for the part to refuse."""
    return (total + parts - 1 - place) // parts if isinstance(total, int) else total
