"""Search spaces as data: which systems a search may build, in YAML.

A space holds families; a family is a template of stages with named choices:

    name: small
    models: [...]                         # rows of a model table; ids with a provider ("zoo/abacus") need none
    limits: {calls: 20, candidates: 12}   # per question; a system over them is excluded, not penalised
    families:
      - name: vote
        choices:
          team: {subset_of: [zoo/abacus, zoo/till], at_most: 2}
          samples: [1, 3, 5]
        stages:
          - {layer: generator, models: $team, params: {samples: $samples}}
          - {layer: vote, skip_below: 3}

`$name` stands for the chosen value. Stages follow each other unless one names its `inputs`; a stage that is left out
(`when`, `skip_below`) hands its inputs on. This file says what a space *is*; `build` makes architectures of it,
`enumeration` counts it, `loading` finds its file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from archon.architecture import Rule
from archon.types import Temperature

Scalar = bool | int | float | str | None
Value = Scalar | tuple[str, ...]
"""What a choice may come to; a tuple for a subset of models."""
Ranking = Literal["generators", "fusers"]
"""A power ranking: models ordered by what they reach alone, or when they fuse an ensemble's answers."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AnyOf(_Strict):
    """One of the listed values."""

    any_of: tuple[Scalar, ...] = Field(min_length=1)
    when: Mapping[str, tuple[Scalar, ...]] = Field(default_factory=dict)
    """Choices of the same family and their values under which this choice is made at all."""

    @property
    def values(self) -> tuple[Value, ...]:
        """Every value, in the given order."""
        return self.any_of


class InRange(_Strict):
    """A whole number from `range: [low, high]` or `[low, high, step]`, both ends included."""

    range: tuple[int, ...] = Field(min_length=2, max_length=3)
    when: Mapping[str, tuple[Scalar, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _ordered(self) -> InRange:
        if self.low > self.high or self.step < 1:
            raise ValueError(f"range needs low <= high and a step >= 1, got {list(self.range)}")
        return self

    @property
    def low(self) -> int:
        """Smallest value."""
        return self.range[0]

    @property
    def high(self) -> int:
        """Largest value, if the step reaches it."""
        return self.range[1]

    @property
    def step(self) -> int:
        """Distance between values."""
        return self.range[2] if len(self.range) == 3 else 1

    @property
    def values(self) -> tuple[Value, ...]:
        """Every value, ascending."""
        return tuple(range(self.low, self.high + 1, self.step))


class SubsetOf(_Strict):
    """A set of models, `at_least` to `at_most` of those listed; searched as one yes/no a model."""

    subset_of: tuple[str, ...] = Field(min_length=1)
    at_least: int = Field(default=1, ge=1)
    at_most: int | None = Field(default=None, ge=1)
    """None = all of them."""
    when: Mapping[str, tuple[Scalar, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _possible(self) -> SubsetOf:
        if len(set(self.subset_of)) < len(self.subset_of):
            raise ValueError("subset_of names a model twice")
        if not self.at_least <= self.most <= len(self.subset_of):
            raise ValueError(
                f"at_least <= at_most <= {len(self.subset_of)} must hold, got {self.at_least}, {self.most}"
            )
        return self

    @property
    def most(self) -> int:
        """Size of the largest subset."""
        return self.at_most or len(self.subset_of)

    @property
    def values(self) -> tuple[Value, ...]:
        """Every subset, small ones first, members in the given order."""
        from itertools import combinations

        sizes = range(self.at_least, self.most + 1)
        return tuple(chosen for size in sizes for chosen in combinations(self.subset_of, size))


def _choice(raw: object) -> object:
    """A bare list is short for `any_of`."""
    return {"any_of": raw} if isinstance(raw, list | tuple) else raw


Choice = Annotated[AnyOf | InRange | SubsetOf, BeforeValidator(_choice)]


class Top(_Strict):
    """The best models of a power ranking, which the search measures first."""

    top: int | str = 1
    """How many, or a `$choice`."""
    by: Ranking = "generators"


Models = str | Top | tuple[str, ...]


class Stage(_Strict):
    """One layer, or several of one kind side by side: one node a model."""

    layer: str
    id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_]+$")
    """Needed where other stages name it in `inputs`; default: the layer's name and place."""
    model: Models | dict[str, Models] | None = None
    """A model, a `$choice`, a `Top`; or one by role for a layer with several."""
    models: Models | None = None
    """Several models, one node each."""
    params: Mapping[str, Any] = Field(default_factory=dict)
    """The layer's parameters; a value may be a `$choice`."""
    inputs: tuple[str, ...] | None = None
    """Ids of stages; default: the stage before; `[]` makes a root."""
    when: Mapping[str, tuple[Scalar, ...]] = Field(default_factory=dict)
    """Left out unless these choices have one of these values."""
    skip_below: int = Field(default=0, ge=0)
    """Left out where fewer candidates than this would reach it."""

    @model_validator(mode="after")
    def _one_of(self) -> Stage:
        if self.model is not None and self.models is not None:
            raise ValueError(f"stage {self.id or self.layer!r}: give `model` or `models`, not both")
        return self


class Family(_Strict):
    """One template."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    about: str = ""
    choices: Mapping[str, Choice] = Field(default_factory=dict)
    stages: tuple[Stage, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names(self) -> Family:
        _check_when(self)
        _check_inputs(self)
        for stage in self.stages:
            for name in references(stage):
                if name not in self.choices:
                    raise ValueError(
                        f"stage {stage.id or stage.layer!r} uses ${name}, which is no choice; {_known(self)}"
                    )
        return self


class SpaceLimits(_Strict):
    """Upper bounds on one system, per question. None = no bound."""

    calls: int | None = Field(default=None, ge=1)
    """Model calls, as planned for the normal case."""
    candidates: int | None = Field(default=None, ge=1)
    """Candidates that reach any layer beside a generator."""


class Published(_Strict):
    """A published size of this space, for comparison."""

    count: int
    source: str
    why: str
    """Why ours differs."""


class Space(_Strict):
    """A search space."""

    name: str = Field(min_length=1)
    about: str = ""
    models: tuple[Mapping[str, Any], ...] = ()
    """Rows of a model table."""
    rankings: Mapping[Ranking, tuple[str, ...]] = Field(default_factory=dict)
    """Models that a `top` chooses from, in the order that holds until it is measured."""
    singles: tuple[str, ...] | None = None
    """Models measured alone, greedy and sampled, for comparison; None = every model of a first stage."""
    temperature: Temperature = 0.7
    """Of the sampled single models and of the votes they are compared with."""
    limits: SpaceLimits = SpaceLimits()
    lift: tuple[Rule, ...] = ()
    """Construction rules that do not hold here."""
    families: tuple[Family, ...] = Field(min_length=1)
    published: Published | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Space:
        names = [family.name for family in self.families]
        if len(set(names)) < len(names):
            raise ValueError(f"two families have one name: {', '.join(names)}")
        for family in self.families:
            for top in tops(family):
                if not self.rankings.get(top.by):
                    raise ValueError(
                        f"family {family.name!r} uses the ranking of {top.by}; list its models in `rankings`"
                    )
        return self

    def family(self, name: str) -> Family:
        """The family of that name."""
        return next(family for family in self.families if family.name == name)


def references(stage: Stage) -> Iterator[str]:
    """Names of the choices a stage uses."""
    for value in [*model_fields(stage), *stage.params.values()]:
        inner = value.top if isinstance(value, Top) else value
        if isinstance(inner, str) and inner.startswith("$"):
            yield inner[1:]
    yield from stage.when


def model_fields(stage: Stage) -> list[Models]:
    """Everything a stage says about models."""
    found = list(stage.model.values()) if isinstance(stage.model, dict) else [stage.model, stage.models]
    return [each for each in found if each is not None]


def tops(family: Family) -> list[Top]:
    """Every use of a power ranking."""
    return [each for stage in family.stages for each in model_fields(stage) if isinstance(each, Top)]


def stage_ids(family: Family) -> list[str]:
    """Every stage's id, given or made."""
    return [
        stage.id or f"{stage.layer.rpartition(':')[2].lower()}_{index}" for index, stage in enumerate(family.stages)
    ]


def _known(family: Family) -> str:
    return f"known: {', '.join(family.choices) or 'none'}"


def _check_when(family: Family) -> None:
    earlier: set[str] = set()
    for name, choice in family.choices.items():
        for other, values in choice.when.items():
            if other not in earlier:
                raise ValueError(
                    f"choice {name!r} depends on {other!r}, which is no choice before it; {_known(family)}"
                )
            possible = family.choices[other].values
            if any(value not in possible for value in values):
                raise ValueError(f"choice {name!r}: {other!r} is never one of {list(values)}")
        earlier.add(name)


def _check_inputs(family: Family) -> None:
    ids = stage_ids(family)
    if len(set(ids)) < len(ids):
        raise ValueError(f"two stages of family {family.name!r} have one id: {', '.join(ids)}")
    for index, stage in enumerate(family.stages):
        for source in stage.inputs or ():
            if source not in ids[:index]:
                raise ValueError(
                    f"stage {ids[index]!r}: input {source!r} is no stage before it; known: {', '.join(ids[:index])}"
                )
