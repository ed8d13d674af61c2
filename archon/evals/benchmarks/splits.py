"""Dealing the questions of a file into three disjoint splits.

A question's place is a hash of the seed and the question itself, uniform in [0, 1): below 0.15 it belongs to *search*,
below 0.40 to *selection*, else to *held_out*. Adding, removing or reordering questions therefore never moves another
one to a different split, and neither do the sizes, which only cut a split short (in the order of the same hash).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from archon.errors import ConfigError
from archon.evals.benchmarks.base import SPLITS
from archon.types import Question, Split, stable_hash

UPPER_BOUNDS: Mapping[Split, float] = MappingProxyType({"search": 0.15, "selection": 0.40, "held_out": 1.0})


def place(question: Question, seed: int) -> float:
    """Where a question stands in [0, 1), by the seed and its own content alone."""
    return int(stable_hash([seed, question.id], 13), 16) / 16**13


def deal(questions: Iterable[Question], seed: int) -> dict[Split, tuple[Question, ...]]:
    """Every question in its split, in the order of its hash."""
    placed = sorted((place(question, seed), question.id, question) for question in questions)
    dealt: dict[Split, list[Question]] = {split: [] for split in SPLITS}
    for where, _, question in placed:
        dealt[next(split for split, bound in UPPER_BOUNDS.items() if where < bound)].append(question)
    return {split: tuple(members) for split, members in dealt.items()}


def cut(
    dealt: Mapping[Split, Sequence[Question]],
    sizes: Mapping[Split, int | None],
    explicit: Mapping[Split, int],
    where: str,
) -> dict[Split, tuple[Question, ...]]:
    """At most so many questions of each split.

    Raises:
        ConfigError: a size the user gave by number is more than there is.
    """
    for split, wanted in explicit.items():
        if wanted > len(dealt[split]):
            raise ConfigError(
                f"{where}: {wanted} questions asked for split {split!r}, which has {len(dealt[split])}; "
                f"ask for fewer, add questions, or give every line a 'split' field in a jsonl benchmark"
            )
    return {split: tuple(dealt[split][: sizes[split]]) for split in SPLITS}
