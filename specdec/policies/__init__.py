"""Stop policies by name: `fixed:8`, `product:0.3`, `specdec++:0.6,maximum=12`. One rule, one file; none imports
torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from typing import Any

from specdec.errors import SpecDecError
from specdec.policies.base import Need, Policy, Signal

__all__ = ["NAMES", "Need", "Policy", "Signal", "make"]

NAMES = {
    "off": "specdec.policies.fixed:off",
    "fixed": "specdec.policies.fixed:Fixed",
    "specdec++": "specdec.policies.specdecpp:SpecDecPP",
    "confidence": "specdec.policies.confidence:Confidence",
    "product": "specdec.policies.product:Product",
    "svip": "specdec.policies.svip:Svip",
    "adaedl": "specdec.policies.adaedl:AdaEdl",
    "logistic": "specdec.policies.logistic:Logistic",
    "heuristic": "specdec.policies.heuristic:Heuristic",
}

_LEAST = {"b": -math.inf, "w": -math.inf, "every": 1}
"""The least value of a setting; 0 where none is given."""


def make(spec: str) -> Policy:
    """`name`, `name:value` (its first setting) or `name:value,setting=value,…` → a policy.

    Raises SpecDecError on an unknown name or setting (listing the known ones) and on a value that is no number.
    """
    name, _, settings = spec.partition(":")
    if name not in NAMES:
        raise SpecDecError(f"unknown stop policy {name!r}; known are {', '.join(NAMES)}")
    module, _, attribute = NAMES[name].partition(":")
    factory: Callable[..., Policy] = getattr(import_module(module), attribute)
    values = _settings(name, factory, settings)
    try:
        return factory(**values)
    except SpecDecError as error:
        raise SpecDecError(f"stop policy {name!r}: {error}") from None


def _settings(name: str, factory: Callable[..., Policy], text: str) -> dict[str, float | int]:
    types: dict[str, type] = _numeric_fields(factory)
    values: dict[str, float | int] = {}
    for index, part in enumerate(filter(None, text.split(","))):
        key, equals, value = part.partition("=")
        if not equals and index == 0 and types:
            key, value = next(iter(types)), part
        if key not in types:
            raise SpecDecError(f"stop policy {name!r} has no setting {key!r}; it has {', '.join(types) or 'none'}")
        values[key] = _number(name, key, value, types[key])
    return values


def _numeric_fields(factory: Any) -> dict[str, type]:
    if not isinstance(factory, type):
        return {}
    numeric = (f for f in fields(factory) if f.init and type(f.default) in (int, float))
    return {f.name: type(f.default) for f in numeric}


def _number(name: str, key: str, text: str, kind: type) -> float | int:
    try:
        value: float | int = kind(text)
    except ValueError:
        raise SpecDecError(f"stop policy {name!r}: {key} must be a number ({kind.__name__}); got {text!r}") from None
    if not math.isfinite(value):
        raise SpecDecError(f"stop policy {name!r}: {key} must be finite; got {text}")
    if value < (least := _LEAST.get(key, 0)):
        raise SpecDecError(f"stop policy {name!r}: {key} must be ≥ {least}; got {text}")
    return value
