"""The zoo: small language models trained here and shipped with the package, so that everything runs with no key.

This module only knows what is there and where it lies; it reads small JSON files and imports nothing heavy.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archon.errors import UnknownNameError

_MODELS = Path(__file__).parent / "models"
_USD_PER_MILLION_TOKENS_PER_PARAMETER = 1e-7


@dataclass(frozen=True, slots=True)
class ZooModel:
    """What is known of one model: see `archon/zoo/README.md` for what it can do."""

    name: str
    family: str
    """The task family it was trained for."""
    parameters: int
    context: int
    """Longest prompt and answer together, in tokens."""
    sha256: str
    """Of `model.safetensors`."""
    seed: int
    """Of its training and lessons."""
    steps: int
    """Optimiser steps of its training."""
    minutes: float
    """Wall time of its training."""
    draft: str | None = None
    """The zoo model that drafts for it."""
    head: str | None = None
    """Its acceptance head for that draft: a folder within its own."""

    @property
    def usd_per_million_tokens(self) -> float:
        """Its compute price, prompt and completion alike: 0.10 USD per million tokens for each million parameters.

        A convention, not a bill: compute per token grows with the parameters, so prices within the zoo are in the
        right proportion, and the scale puts a call at some micro-dollars, where budgets can count it.
        """
        return self.parameters * _USD_PER_MILLION_TOKENS_PER_PARAMETER


def names() -> tuple[str, ...]:
    """The models that are shipped, sorted."""
    return tuple(sorted(entry.parent.name for entry in _MODELS.glob("*/zoo.json")))


def path(name: str) -> Path:
    """The folder of a model: a Hugging Face causal-LM folder. UnknownNameError lists the known names."""
    if name not in names():
        raise UnknownNameError("zoo model", name, names())
    return _MODELS / name


def model(name: str) -> ZooModel:
    """What is recorded of a model. UnknownNameError lists the known names."""
    entry: Mapping[str, Any] = json.loads((path(name) / "zoo.json").read_text())
    return ZooModel(**entry)
