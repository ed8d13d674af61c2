"""The task family `ledger`: short word problems with worked steps and one exact integer answer, made from a seed.

Five kinds of story ask for different skills: `stock` (add and subtract), `shop` (prices times quantities), `share`
(exact division), `compare` (times as many, totals) and `rate` (so many an hour). Difficulty is the number of steps
and the largest number that may appear anywhere in a problem. Every question belongs to exactly one split, by a hash
of its text, so what a model was trained on can never be asked of it in a search or a final test.
"""

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from archon.zoo.stories import Draft, compare, rate, share, shop, stock

Split = Literal["train", "search", "selection", "held_out"]

KINDS: Mapping[str, Callable[[random.Random, int, int], Draft | None]] = MappingProxyType(
    {"stock": stock, "shop": shop, "share": share, "compare": compare, "rate": rate}
)
# Percent of all questions: training gets most, the other three enough for thousands of distinct questions each.
_SHARES: Mapping[Split, range] = MappingProxyType(
    {"train": range(70), "search": range(70, 80), "selection": range(80, 90), "held_out": range(90, 100)}
)
_ATTEMPTS = 10_000


@dataclass(frozen=True, slots=True)
class LedgerProblem:
    """A word problem: its text, the worked steps (`"48 / 4 = 12"`), the exact answer, and the kind of story."""

    question: str
    steps: tuple[str, ...]
    answer: int
    kind: str

    @property
    def solution(self) -> str:
        """The worked solution as the zoo writes it: `48 / 4 = 12 ; 12 + 30 = 42 ; answer 42`."""
        return solution_text(self.steps)


def solution_text(steps: Sequence[str]) -> str:
    """Worked steps as the zoo writes them, the last result as the answer."""
    return " ; ".join((*steps, f"answer {steps[-1].rpartition(' ')[2]}"))


def split_of(question: str) -> Split:
    """The one split a question belongs to, decided by its text alone."""
    return split_in(int.from_bytes(hashlib.sha256(question.encode()).digest()[:4]) % 100)


def split_in(percent: int) -> Split:
    """The split of a hash's place in 0..99."""
    return next(split for split, share_ in _SHARES.items() if percent in share_)


def draw_problem(
    rng: random.Random,
    *,
    split: Split = "train",
    steps: tuple[int, int] = (2, 4),
    largest: int = 300,
    kinds: Mapping[str, float] | Sequence[str] = tuple(KINDS),
) -> LedgerProblem:
    """One problem of `split`; `kinds` weighs the stories, `steps` is an inclusive range within 2..4."""
    if not 2 <= steps[0] <= steps[1] <= 4 or largest < 60:
        raise ValueError(f"ledger: steps={steps} must lie within 2..4 and largest={largest} be 60 or more")
    weights = kinds if isinstance(kinds, Mapping) else dict.fromkeys(kinds, 1.0)
    kind = rng.choices(list(weights), list(weights.values()))[0]
    count = rng.randint(*steps)
    for _ in range(_ATTEMPTS):
        draft = KINDS[kind](rng, count, largest)
        if draft is not None and split_of(draft.question) == split:
            return LedgerProblem(draft.question, tuple(str(step) for step in draft.steps), draft.steps[-1].result, kind)
    raise ValueError(f"ledger: found no problem of split {split} with steps={steps}, largest={largest}")


def ledger_problems(
    seed: int,
    count: int,
    *,
    split: Split = "held_out",
    steps: tuple[int, int] = (2, 4),
    largest: int = 300,
    kinds: Mapping[str, float] | Sequence[str] = tuple(KINDS),
) -> list[LedgerProblem]:
    """`count` distinct problems of `split`; the same arguments give the same list, and a longer list extends it."""
    rng = random.Random(f"ledger:{seed}:{split}")
    found: dict[str, LedgerProblem] = {}
    for _ in range(count * 100):
        if len(found) == count:
            break
        problem = draw_problem(rng, split=split, steps=steps, largest=largest, kinds=kinds)
        found.setdefault(problem.question, problem)
    if len(found) < count:
        raise ValueError(f"ledger: only {len(found)} distinct problems of {count} asked; widen steps, largest or kinds")
    return list(found.values())
