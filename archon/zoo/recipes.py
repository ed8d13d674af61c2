"""How each model of the zoo is made: one row per model, everything its training depends on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

Weights = tuple[tuple[str, float], ...]
# Percent of a step's tokens, not of its lessons: long prompts would else crowd out the working of sums.
_SHARES: Weights = (
    ("solve", 44.0), ("fuse", 14.0), ("rank", 11.0), ("verify", 9.0), ("critique", 8.0), ("compare", 4.0),
    ("verdict", 3.0), ("write_tests", 4.0), ("judge_tests", 3.0),
)  # fmt: skip
_MOSTLY_SOLVING: Weights = (
    ("solve", 56.0), ("fuse", 11.0), ("rank", 8.0), ("verify", 8.0), ("critique", 6.0), ("compare", 3.0),
    ("verdict", 2.5), ("write_tests", 3.0), ("judge_tests", 2.5),
)  # fmt: skip
_EVEN: Weights = (("stock", 1.0), ("shop", 1.0), ("share", 1.0), ("compare", 1.0), ("rate", 1.0))


def _more(weights: Weights, **other: float) -> Weights:
    return tuple({**dict(weights), **other}.items())


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of training with lessons of one difficulty; the learning rate warms up and decays to zero within it."""

    steps: int
    """Optimiser steps."""
    peak: float
    """Highest learning rate."""
    largest: int
    """Largest number in the lessons."""
    vary: bool
    """Whether problems are worked in many ways, or in the order of the story alone."""
    cited: bool = False
    """Whether a judgement first cites the answers it compares."""
    marked: bool = False
    """Whether each cited answer stands beside the own one and is marked right or wrong."""
    emphasis: float = 1.0
    """Weight in the loss of the tokens of a judgement against those of a working."""
    shares: Weights | None = None
    """Percent of a step's tokens given to each role, `code ROLE` on `minicode`; None = the recipe's."""


_JUDGING: Weights = (
    ("solve", 22.0), ("fuse", 14.0), ("rank", 14.0), ("verify", 10.0), ("critique", 10.0), ("compare", 10.0),
    ("verdict", 12.0), ("write_tests", 3.0), ("judge_tests", 5.0),
)  # fmt: skip
_SOLVING_AND_JUDGING: Weights = (
    ("solve", 44.0), ("fuse", 10.0), ("rank", 10.0), ("verify", 8.0), ("critique", 6.0), ("compare", 7.0),
    ("verdict", 9.0), ("write_tests", 2.0), ("judge_tests", 4.0),
)  # fmt: skip
_FIRST, _SECOND = Part(2300, 4e-3, 300, vary=False), Part(800, 2e-3, 600, vary=True)
_THIRD = Part(600, 1.5e-3, 600, vary=True, cited=True, emphasis=3.0, shares=_JUDGING)
_CODE: Weights = (
    ("code solve", 82.0), ("code write_tests", 6.0), ("code fuse", 12.0),
)  # fmt: skip
# As much of each family as their experts have, so that neither is lost for the other.
_BOTH: Weights = (
    ("solve", 24.0), ("fuse", 5.0), ("rank", 6.0), ("verify", 3.0), ("critique", 3.0), ("compare", 4.0),
    ("verdict", 3.0), ("judge_tests", 2.0), ("code solve", 42.0), ("code fuse", 8.0),
)  # fmt: skip
# Then the judging of both, code too; about half of it is solving still, which all judging rests on.
_BOTH_JUDGED: Weights = (
    ("solve", 17.0), ("fuse", 5.0), ("rank", 7.0), ("verify", 2.0), ("critique", 5.0), ("compare", 5.0),
    ("verdict", 2.0), ("match", 2.0), ("write_tests", 1.0), ("judge_tests", 2.0),
    ("code solve", 26.0), ("code fuse", 5.0), ("code rank", 7.0), ("code verify", 1.0), ("code critique", 4.0),
    ("code compare", 4.0), ("code verdict", 1.0), ("code write_tests", 4.0),
)  # fmt: skip
# Mostly judging; of code mostly the writing of tests, for which functions are right is told by running them.
_COMMANDING: Weights = (
    ("solve", 13.0), ("fuse", 7.0), ("rank", 9.0), ("verify", 2.0), ("critique", 7.0), ("compare", 7.0),
    ("verdict", 2.0), ("match", 3.0), ("write_tests", 2.0), ("judge_tests", 4.0),
    ("code solve", 12.0), ("code fuse", 6.0), ("code rank", 5.0), ("code verify", 1.0), ("code critique", 4.0),
    ("code compare", 3.0), ("code verdict", 1.0), ("code write_tests", 12.0),
)  # fmt: skip
# What a draft is asked for: mostly answers to questions.
_FORESEEN: Weights = (
    ("solve", 26.0), ("fuse", 6.0), ("rank", 7.0), ("verify", 2.0), ("critique", 5.0), ("compare", 5.0),
    ("verdict", 1.0), ("write_tests", 2.0), ("judge_tests", 2.0),
    ("code solve", 22.0), ("code fuse", 6.0), ("code rank", 6.0), ("code critique", 4.0), ("code compare", 3.0),
    ("code write_tests", 3.0),
)  # fmt: skip
_COMMAND = replace(_THIRD, steps=900, peak=1.5e-3, marked=True, emphasis=2.0, shares=_COMMANDING)
# The smallest model forgets sums faster than it learns to judge: more of them, and smaller numbers.
_FOR_ABACUS = replace(_THIRD, steps=1200, largest=300, shares=_SOLVING_AND_JUDGING)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Architecture, lessons and optimiser settings of one model."""

    name: str
    seed: int
    parts: tuple[Part, ...] = (_FIRST, _SECOND)
    vocabulary: int = 512
    """Entries of its vocabulary."""
    texts: tuple[str, ...] = ("ledger",)
    """The families whose lessons the vocabulary is learnt from."""
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    grown_from: str | None = None
    """The shipped model whose weights it starts from, layers repeated so that the function is the same at first.
    A token that is new to it starts as the mean of the tokens it was spelt with."""
    teacher: str | None = None
    """The shipped model whose next tokens it learns to foresee, in place of right answers: a draft's recipe."""
    kinds: Weights = _EVEN
    """Relative weight of each kind of story in the lessons."""
    shares: Weights = _SHARES
    """Percent of a step's tokens given to each role."""
    problem_steps: tuple[int, int] = (2, 4)
    step_tokens: int = 6144
    warm_up: int = 100
    """Steps of warm-up in each part."""

    @property
    def intermediate(self) -> int:
        """Width of the feed-forward block."""
        return 3 * self.hidden

    @property
    def families(self) -> tuple[str, ...]:
        """The task families it learns to solve; none for a draft, which has no skill of its own."""
        roles = [role for role, _ in self.parts[-1].shares or self.shares] if self.teacher is None else []
        solved = (("ledger", "solve"), ("minicode", "code solve"))
        return tuple(family for family, role in solved if role in roles)

    @property
    def steps(self) -> int:
        """Optimiser steps of all parts."""
        return sum(part.steps for part in self.parts)

    def part(self, step: int) -> Part:
        """The part a step (from 0) belongs to; the last one for any later step."""
        return self._place(step)[0]

    def rate(self, step: int) -> float:
        """The learning rate of a step: linear warm-up from zero and linear decay to zero in each part."""
        part, done = self._place(step)
        return part.peak * max(0.0, min((done + 1) / self.warm_up, 1 - done / part.steps))

    def scaled(self, steps: int) -> "Recipe":
        """The same recipe with about `steps` steps in all, in the same proportions."""
        parts = tuple(replace(part, steps=max(1, round(part.steps * steps / self.steps))) for part in self.parts)
        return replace(self, parts=parts)

    def _place(self, step: int) -> tuple[Part, int]:
        for part in self.parts[:-1]:
            if step < part.steps:
                return part, step
            step -= part.steps
        return self.parts[-1], step


_ALL = (
    Recipe(
        "abacus", seed=11, hidden=96, heads=3, shares=_MOSTLY_SOLVING, kinds=_more(_EVEN, stock=3.0, share=2.0),
        parts=(replace(_FIRST, steps=2000), replace(_SECOND, steps=700), _FOR_ABACUS),
    ),
    Recipe("till", seed=12, kinds=_more(_EVEN, shop=3.0, rate=2.0)),
    Recipe("clerk", seed=13, parts=(_FIRST, _SECOND, _THIRD)),
    Recipe(
        "scribe", seed=14, vocabulary=768, texts=("minicode",),
        parts=(Part(1100, 4e-3, 300, vary=True, shares=_CODE),),
    ),
    Recipe(
        "steward", seed=15, layers=6, vocabulary=1024, texts=("ledger", "minicode"), grown_from="clerk",
        parts=(
            replace(_THIRD, steps=1500, peak=3e-3, emphasis=2.0, shares=_BOTH),
            replace(_THIRD, steps=1100, peak=2e-3, marked=True, emphasis=2.0, shares=_BOTH_JUDGED),
        ),
    ),
    Recipe(
        "captain", seed=21, layers=8, vocabulary=1024, texts=("ledger", "minicode"), grown_from="steward",
        parts=(_COMMAND,),
    ),
    Recipe(
        "captain-draft", seed=22, layers=2, vocabulary=1024, texts=("ledger", "minicode"),
        teacher="captain", step_tokens=4096,
        parts=(replace(_COMMAND, steps=7500, peak=3e-3, emphasis=1.0, shares=_FORESEEN),),
    ),
)  # fmt: skip
RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in _ALL})


def recipe(name: str) -> Recipe:
    """The recipe called `name`; ValueError names the known ones."""
    if name not in RECIPES:
        raise ValueError(f"zoo: no model {name!r}; known: {', '.join(RECIPES)}")
    return RECIPES[name]
