"""Finds and reads spaces: by the name of a shipped one, or by path."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from archon.default_models import with_defaults
from archon.errors import ConfigError, UnknownNameError
from archon.models import ModelTable, one_line, read_yaml
from archon.search.space import Space, SubsetOf, Top, model_fields


def space_names() -> tuple[str, ...]:
    """Names of the spaces shipped with the engine."""
    folder = files("search_spaces")
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def space_path(name: str) -> Path:
    """The file of a space, by shipped name or path. Raises UnknownNameError, which lists the shipped ones."""
    if Path(name).is_file():
        return Path(name)
    if name not in space_names():
        is_path = "/" in name or Path(name).suffix
        hint = f"There is no such file as {name!r} either." if is_path else "Or give the path of a YAML file."
        raise UnknownNameError("search space", Path(name).stem if is_path else name, space_names(), hint)
    return Path(str(files("search_spaces") / f"{name}.yaml"))


def load_space(name: str | Path) -> Space:
    """Reads a space. Raises ConfigError naming the file and the place."""
    path = name if isinstance(name, Path) else space_path(name)
    return parse_space(read_yaml(path), str(path))


def parse_space(raw: object, where: str = "space") -> Space:
    """A space from plain data."""
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: a mapping with `name` and `families` is needed, got {type(raw).__name__}")
    try:
        return Space.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{where}: {one_line(error)}") from None


def models_of(space: Space) -> tuple[str, ...]:
    """Every model the space may use, once each."""
    found: dict[str, None] = {}
    for family in space.families:
        for stage in family.stages:
            for wanted in model_fields(stage):
                found.update(dict.fromkeys(_possible(space, family.name, wanted)))
    return tuple(found | dict.fromkeys(space.singles or ()))


def singles_of(space: Space) -> tuple[str, ...]:
    """Models that are measured alone: `singles`, or every model of a first stage."""
    if space.singles is not None:
        return space.singles
    found: dict[str, None] = {}
    for family in space.families:
        for index, stage in enumerate(family.stages):
            if stage.inputs == () or (index == 0 and not stage.inputs):
                for wanted in model_fields(stage):
                    found.update(dict.fromkeys(_possible(space, family.name, wanted)))
    return tuple(found)


def table_of(space: Space, extra: ModelTable | None = None) -> ModelTable:
    """The models of the space with their rows; rows of `extra` win over the space's own."""
    own = ModelTable.from_list([dict(row) for row in space.models], f"space {space.name!r}: models")
    return with_defaults(own.merged(extra or ModelTable()), models_of(space))


def _possible(space: Space, family: str, wanted: object) -> tuple[str, ...]:
    """Every model that a stage's words may come to."""
    if isinstance(wanted, Top):
        return space.rankings[wanted.by]
    if not isinstance(wanted, str):
        return tuple(str(each) for each in wanted) if isinstance(wanted, tuple | list) else ()
    if not wanted.startswith("$"):
        return (wanted,)
    choice = space.family(family).choices[wanted[1:]]
    return choice.subset_of if isinstance(choice, SubsetOf) else tuple(str(value) for value in choice.values)
