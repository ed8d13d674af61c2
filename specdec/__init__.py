"""Speculative decoding whose candidate length is chosen token by token; lossless for every stop policy.

`from specdec import SpecDecoder` is the whole public surface for use; torch is imported only when a name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from specdec.decoder import Delta, Generation, SpecDecoder
    from specdec.errors import SpecDecError
    from specdec.params import Sampling

_HOMES = {
    "Delta": "specdec.decoder",
    "Generation": "specdec.decoder",
    "Sampling": "specdec.params",
    "SpecDecError": "specdec.errors",
    "SpecDecoder": "specdec.decoder",
}

__all__ = ["Delta", "Generation", "Sampling", "SpecDecError", "SpecDecoder"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'specdec' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
