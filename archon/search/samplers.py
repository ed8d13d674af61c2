"""Samplers by name: what proposes the next assignment of a space from what was measured so far.

    tpe     Optuna's tree-structured Parzen estimator, multivariate, grouped for conditional choices (the default)
    random  independent draws
    gp      Gaussian process (needs torch and scipy)
    nsga2   genetic search
    local   our own: small changes to what was best; strong where choices are sets of models
    grid    every system once, in the order of the space

A sampler is asked and told in one fixed order, so a seed gives the same proposals for the same values.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from archon.errors import ConfigError, UnknownNameError
from archon.search.build import FAMILY, Assignment, Picker, assign
from archon.search.enumeration import assignments
from archon.search.local import LocalSampler
from archon.search.space import Choice, InRange, Space, SubsetOf, Value

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import BaseSampler


class Sampler(Protocol):
    """Proposes assignments. A ticket stands for one proposal and is opaque to the caller."""

    exhaustive: ClassVar[bool]
    """Whether it proposes every assignment once and then none, so that asking on is never in vain."""

    def propose(self) -> tuple[Any, Assignment] | None:
        """The next proposal; None when there is none left. It need not be feasible or new."""
        ...

    def adopt(self, chosen: Assignment) -> Any:
        """A ticket for an assignment that the caller proposes itself."""
        ...

    def tell(self, ticket: Any, value: float) -> None:
        """What a proposal was worth; higher is better."""
        ...

    def reject(self, ticket: Any) -> None:
        """A proposal that will not be measured: it makes no system, or the same one is being measured."""
        ...


class OptunaSampler:
    """Any sampler of Optuna, driven by ask and tell on a study in memory: the trial log is the truth, not Optuna's."""

    exhaustive: ClassVar[bool] = False

    def __init__(self, space: Space, sampler: BaseSampler) -> None:
        import optuna

        self._space = space
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study: Study = optuna.create_study(direction="maximize", sampler=sampler)

    def propose(self) -> tuple[Any, Assignment]:
        """See `Sampler`."""
        trial = self._study.ask()
        return trial, assign(self._space, _suggesting(trial))

    def adopt(self, chosen: Assignment) -> Any:
        """See `Sampler`."""
        self._study.enqueue_trial(_flat(self._space, chosen))
        return self.propose()[0]

    def tell(self, ticket: Any, value: float) -> None:
        """See `Sampler`."""
        self._study.tell(ticket, value)

    def reject(self, ticket: Any) -> None:
        """See `Sampler`. A failed trial is invisible to Optuna's samplers: nothing is learnt from it."""
        from optuna.trial import TrialState

        self._study.tell(ticket, state=TrialState.FAIL)


class GridSampler:
    """Every assignment in the order of the space."""

    exhaustive: ClassVar[bool] = True

    def __init__(self, space: Space) -> None:
        self._left = assignments(space)

    def propose(self) -> tuple[None, Assignment] | None:
        """See `Sampler`."""
        chosen = next(self._left, None)
        return None if chosen is None else (None, chosen)

    def adopt(self, chosen: Assignment) -> None:
        """See `Sampler`."""

    def tell(self, ticket: Any, value: float) -> None:
        """Changes nothing."""

    def reject(self, ticket: Any) -> None:
        """Changes nothing."""


def sampler_names() -> tuple[str, ...]:
    """Every sampler that `--sampler` takes."""
    return tuple(_SAMPLERS)


def make_sampler(name: str, space: Space, seed: int) -> Sampler:
    """The sampler of that name. Raises UnknownNameError, which lists the known ones."""
    if name not in _SAMPLERS:
        raise UnknownNameError("sampler", name, _SAMPLERS)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*experimental.*")
        return _SAMPLERS[name](space, seed)


def _suggesting(trial: Trial) -> Picker:
    """Asks Optuna for one choice. Optuna's own parameters are plain values, so a subset is one yes/no a model."""

    def pick(key: str, choice: Choice) -> Value:
        if isinstance(choice, SubsetOf):
            return tuple(m for m in choice.subset_of if trial.suggest_categorical(f"{key}.{m}", [False, True]))
        if isinstance(choice, InRange):
            return trial.suggest_int(key, choice.low, choice.values[-1], step=choice.step)  # type: ignore[arg-type]
        return trial.suggest_categorical(key, choice.any_of)

    return pick


def _flat(space: Space, chosen: Assignment) -> dict[str, Any]:
    """An assignment under Optuna's parameter names."""
    family = space.family(str(chosen[FAMILY]))
    flat: dict[str, Any] = {FAMILY: family.name}
    for name, choice in family.choices.items():
        if name not in chosen:
            continue
        value, key = chosen[name], f"{family.name}.{name}"
        if isinstance(choice, SubsetOf):
            members = value if isinstance(value, tuple) else ()
            flat |= {f"{key}.{model}": model in members for model in choice.subset_of}
        else:
            flat[key] = value
    return flat


def _tpe(space: Space, seed: int) -> Sampler:
    from optuna.samplers import TPESampler

    return OptunaSampler(space, TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True))


def _random(space: Space, seed: int) -> Sampler:
    from optuna.samplers import RandomSampler

    return OptunaSampler(space, RandomSampler(seed=seed))


def _gp(space: Space, seed: int) -> Sampler:
    from optuna.samplers import GPSampler

    missing = [name for name in ("torch", "scipy") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"sampler 'gp' needs {' and '.join(missing)}: pip install {' '.join(missing)}, or use tpe")
    return OptunaSampler(space, GPSampler(seed=seed))


def _nsga2(space: Space, seed: int) -> Sampler:
    from optuna.samplers import NSGAIISampler

    return OptunaSampler(space, NSGAIISampler(seed=seed, population_size=20))


def _local(space: Space, seed: int) -> Sampler:
    return LocalSampler(space, Random(seed))


def _grid(space: Space, seed: int) -> Sampler:
    return GridSampler(space)


_SAMPLERS: Mapping[str, Callable[[Space, int], Sampler]] = MappingProxyType(
    {"tpe": _tpe, "random": _random, "gp": _gp, "nsga2": _nsga2, "local": _local, "grid": _grid}
)
