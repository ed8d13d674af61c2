"""The file a system lives in: `archon search` writes it, `archon run`, `archon serve` and `Archon.load` read it.

    architecture: {nodes: [...], output: ...}
    models: [...]                # the rows it needs; no secrets
    extractor: number            # how a final answer is read from a text
    benchmark: {...}             # what it was chosen on, with its hash
    scores: {...}                # measured quality with intervals

A bare architecture (`nodes`, `output`, optionally `models`) and the list-of-lists JSON of the original Archon configs
are read as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from archon import reference
from archon.architecture import Architecture, read_raw
from archon.errors import ArchitectureError, UnknownNameError
from archon.models import ModelTable

_KEYS = ("architecture", "models", "extractor", "benchmark", "scores", "seed", "search")


@dataclass(frozen=True, slots=True)
class SystemFile:
    """An architecture with what is needed to run it and to trust it."""

    architecture: Architecture
    models: ModelTable = field(default_factory=ModelTable)
    extractor: str = "number"
    seed: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    """benchmark, scores, search: plain data for people and reports."""
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `parse` reads back."""
        return {
            "architecture": self.architecture.to_dict(),
            "models": self.models.to_list(),
            "extractor": self.extractor,
            "seed": self.seed,
            **self.facts,
        }

    def save(self, path: Path) -> None:
        """Writes YAML, atomically."""
        text = yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)
        part = path.with_name(path.name + ".part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)


def load(path: Path | str) -> SystemFile:
    """Reads a system. Raises ConfigError naming the file and the place."""
    return parse(read_raw(Path(path)), str(path))


def parse(raw: object, where: str = "architecture") -> SystemFile:
    """A system from plain data of any of the three forms."""
    if not isinstance(raw, Mapping):
        raise ArchitectureError(f"{where}: a mapping is needed, got {type(raw).__name__}")
    if "layers" in raw:
        return _from_reference(raw, where)
    if "architecture" in raw:
        return _from_whole(raw, where)
    rest = {key: value for key, value in raw.items() if key not in ("models", "extractor")}
    return SystemFile(Architecture.from_dict(rest, where), _models(raw, where), _extractor(raw, where))


def _from_whole(raw: Mapping[str, Any], where: str) -> SystemFile:
    for key in raw:
        if key not in _KEYS:
            raise ArchitectureError(f"{where}: {UnknownNameError('key', str(key), _KEYS)}")
    seed = raw.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ArchitectureError(f"{where}: seed must be a whole number, got {seed!r}")
    return SystemFile(
        Architecture.from_dict(raw["architecture"], f"{where}: architecture"),
        _models(raw, where),
        _extractor(raw, where),
        seed,
        {key: raw[key] for key in ("benchmark", "scores", "search") if key in raw},
    )


def _from_reference(raw: Mapping[str, Any], where: str) -> SystemFile:
    architecture, models, warnings = reference.read(raw, where)
    return SystemFile(architecture, models, warnings=warnings)


def _models(raw: Mapping[str, Any], where: str) -> ModelTable:
    return ModelTable.from_list(raw.get("models", []), f"{where}: models")


def _extractor(raw: Mapping[str, Any], where: str) -> str:
    name = raw.get("extractor", "number")
    if not isinstance(name, str):
        raise ArchitectureError(f"{where}: extractor must be a name, got {name!r}")
    return name
