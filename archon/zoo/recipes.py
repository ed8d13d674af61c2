"""How each model of the zoo is made: one row per model, everything its training depends on."""

from collections.abc import Mapping
from dataclasses import dataclass
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
class Recipe:
    """Architecture, lessons and optimiser settings of one model."""

    name: str
    seed: int
    steps: int
    """Optimiser steps."""
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    kinds: Weights = _EVEN
    """Relative weight of each kind of story in the lessons."""
    shares: Weights = _SHARES
    """Percent of a step's tokens given to each role."""
    problem_steps: tuple[int, int] = (2, 4)
    largest: int = 300
    step_tokens: int = 6144
    learning_rate: float = 4e-3
    warm_up: int = 100

    varied_from: int = 0
    """The step from which problems are worked in many ways; before it, in the order of the story alone."""
    second_rate: float = 2e-3
    """Peak learning rate of the second part, where `varied_from` is not 0."""

    def rate(self, step: int) -> float:
        """The learning rate of a step: in each part, linear warm-up from and linear decay to zero."""
        if step < self.varied_from:
            return self.learning_rate * min((step + 1) / self.warm_up, 1 - step / self.varied_from)
        peak = self.second_rate if self.varied_from else self.learning_rate
        done, of = step - self.varied_from, self.steps - self.varied_from
        return peak * min((done + 1) / self.warm_up, 1 - done / of)

    @property
    def intermediate(self) -> int:
        """Width of the feed-forward block."""
        return 3 * self.hidden


_ALL = (
    Recipe(
        "abacus",
        seed=11,
        steps=3200,
        hidden=96,
        heads=3,
        shares=_MOSTLY_SOLVING,
        kinds=_more(_EVEN, stock=3.0, share=2.0),
    ),
    Recipe("till", seed=12, steps=3300, varied_from=2300, kinds=_more(_EVEN, shop=3.0, rate=2.0)),
    Recipe("clerk", seed=13, steps=3300, varied_from=2300),
)
RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in _ALL})


def recipe(name: str) -> Recipe:
    """The recipe called `name`; ValueError names the known ones."""
    if name not in RECIPES:
        raise ValueError(f"zoo: no model {name!r}; known: {', '.join(RECIPES)}")
    return RECIPES[name]
