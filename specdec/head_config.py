"""What a head folder says of its head (`head.json`), checked when it is read; imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from specdec.errors import SpecDecError
from specdec.policies.base import LIMIT
from specdec.stopping import Stopping

FEATURES = ("token_logit", "peak_logit", "place", "temperature")
"""logit of q(x) and of max q, place in the round and temperature, each divided by its one of SCALES. The entropy of q
adds nothing to these (docs/speculation.md), and is dear to compute."""
SCALES = (5.0, 5.0, float(LIMIT), 1.0)
_LARGEST = 1e30
"""Of the numbers of a configuration."""


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """width: of the draft's hidden state. depth: D ≥ 0. features: whether FEATURES follow the hidden state.

    shared_blocks: one block applied D times, the form of the authors' checkpoints. lag: 1 where the prediction at a
    state is about the token that state has just consumed (the authors' heads), 0 where it is about the token drawn
    from it.
    low, high: temperatures trained for. scale, shift: calibration, logit ↦ scale·logit + shift.
    sure, sure_scale, sure_shift: of a token of at least this q(x) the head is not asked: it is taken to stand with
    chance σ(sure_scale·logit q + sure_shift). Most tokens are such ones, and there is little to learn about them.
    2 = all are asked about. greedy: (scale, shift) of the same at temperature 0, where no token is asked about then;
    None = as at other temperatures. asked: the share of drafted tokens that are asked about, where any are.
    stopping: what was tuned with the head. cold: the same at temperature 0; None = as above it. Raises ValueError for
    what no head can be.
    """

    width: int
    depth: int = 1
    features: bool = True
    shared_blocks: bool = False
    lag: int = 0
    low: float = 0.0
    high: float = 1.0
    scale: float = 1.0
    shift: float = 0.0
    sure: float = 2.0
    sure_scale: float = 1.0
    sure_shift: float = 0.0
    greedy: tuple[float, float] | None = None
    asked: float = 1.0
    stopping: Stopping = Stopping()
    cold: Stopping | None = None

    def __post_init__(self) -> None:
        if self.greedy is not None:
            # As read from a file, it is a list.
            scale, shift = self.greedy
            object.__setattr__(self, "greedy", (scale, shift))
        numbers = (self.low, self.high, self.scale, self.shift, self.sure, self.sure_scale, self.sure_shift, self.asked)
        rules = (
            (_whole(self.width) and self.width >= 1, "width must be a whole number ≥ 1"),
            (_whole(self.depth) and self.depth >= 0, "depth must be a whole number ≥ 0"),
            (
                all(isinstance(flag, bool) for flag in (self.features, self.shared_blocks)),
                "its flags must be true or false",
            ),
            (_whole(self.lag) and self.lag in (0, 1), "lag must be 0 or 1"),
            (self.features or self.greedy is None, "greedy goes by q, which is a feature"),
            (all(map(_finite, (*numbers, *(self.greedy or ())))), "its numbers must be finite"),
            (0 <= self.low <= self.high, "low … high must be temperatures"),
            (0 <= self.asked <= 1, "asked must lie in [0, 1]"),
            (isinstance(self.stopping, Stopping), "stopping must be told"),
        )
        for holds, rule in rules:
            if not holds:
                raise ValueError(rule)

    def covers(self, temperature: float) -> bool:
        """Whether the head was trained for this temperature."""
        return self.low <= temperature <= self.high

    def asked_at(self, temperature: float) -> float:
        """The share of drafted tokens that the head is asked about."""
        return 0.0 if self.greedy and temperature == 0 else self.asked

    def check(self, width: int, draft: str) -> None:
        """Refuse a draft whose hidden state has another width than the head was trained on."""
        if width != self.width:
            raise SpecDecError(
                f"the head was trained on a hidden state of {self.width} and draft {draft} has {width}: "
                "use the draft it was trained with, or train a head for this one (python -m specdec train)"
            )

    def stopping_at(self, temperature: float) -> Stopping:
        """What was tuned for this temperature."""
        return self.cold if self.cold and temperature == 0 else self.stopping

    @property
    def inputs(self) -> int:
        """Width of the blocks: hidden state and features side by side."""
        return self.width + (len(FEATURES) if self.features else 0)


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _finite(value: object) -> bool:
    return isinstance(value, Real) and abs(float(value)) <= _LARGEST


def read_head_config(folder: str | Path) -> HeadConfig:
    """Raises SpecDecError where the folder holds no head, one of another version, or not what it should."""
    path = Path(folder)
    if not (path / "head.json").is_file() or not (path / "head.safetensors").is_file():
        raise SpecDecError(
            f"no acceptance head at {path}: head.json and head.safetensors are needed (python -m specdec train)"
        )
    try:
        told: dict[str, Any] = json.loads((path / "head.json").read_text(encoding="utf-8"))
        if not isinstance(told, dict):
            raise TypeError("head.json holds no object")
        _require_version(told, path)
        told |= {name: _stopping(told[name]) for name in _TUNED if name in told}
        return HeadConfig(**told)
    except (TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        raise SpecDecError(f"the head at {path} is damaged: {error}; train it anew (python -m specdec train)") from None


_TUNED = ("stopping", "cold")


def _require_version(told: dict[str, Any], path: Path) -> None:
    """Takes `reads` out, which says what features the head was made for."""
    reads = tuple(told.pop("reads", ()))
    unknown = told.keys() - {field.name for field in fields(HeadConfig)}
    if unknown or (told.get("features", True) and reads != FEATURES):
        why = f"it has {', '.join(sorted(unknown))}" if unknown else f"it reads {', '.join(reads) or 'other features'}"
        raise SpecDecError(
            f"the head at {path} was made by another version ({why}): train it anew (python -m specdec train, which "
            "goes on from what the folder of its run holds)"
        )


def _stopping(told: Mapping[str, Any] | None) -> Stopping | None:
    return None if told is None else Stopping(**told)
