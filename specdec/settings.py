"""The settings of a head's training, checked once, at construction. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from specdec.errors import SpecDecError

Label = Literal["token", "overlap"]


@dataclass(frozen=True, slots=True)
class Training:
    """depth: D. w_rej: weight of rejections. mix: r. horizon: tokens of a roll-out.

    The paper's best w_rej is 6. Examples here count by the chance that all before them stand, and what is trained is
    calibrated afterwards; so 1 is the default, and was the best tried.

    label: "token" = min(1, p/q) of the drawn token (the paper's), "overlap" = Σ min(p, q). temperatures: served ones;
    texts take turns. tokens: the most per text. dev: share of the prompts kept for calibration and threshold. rate:
    of AdamW. sure: the head is not asked about drawn tokens of at least this probability; above 1 about all.
    """

    epochs: int = 3
    depth: int = 1
    w_rej: float = 1.0
    mix: float = 0.15
    horizon: int = 16
    label: Label = "token"
    features: bool = True
    temperatures: tuple[float, ...] = (0.0, 0.7, 1.0)
    tokens: int = 128
    dev: float = 0.1
    rate: float = 1e-3
    batch: int = 256
    seed: int = 0
    sure: float = 0.8

    @property
    def kinds(self) -> tuple[float, ...]:
        """The temperatures that thresholds are derived at: 0, and the highest above it, as far as they are served."""
        return tuple(dict.fromkeys(heat for heat in (0.0, max(self.temperatures)) if heat in self.temperatures))

    def __post_init__(self) -> None:
        rules = (
            (self.epochs >= 1 and self.horizon >= 2 and self.tokens >= 1, "epochs ≥ 1, horizon ≥ 2 and tokens ≥ 1"),
            (0 <= self.mix < 1 and 0 < self.dev < 1, "mix in [0, 1) and dev in (0, 1)"),
            (bool(self.temperatures) and min(self.temperatures) >= 0, "at least one temperature, none below 0"),
            (self.label in ("token", "overlap"), "label token or overlap"),
            (0 <= self.seed < 2**40, "seed in 0 … 2^40 - 1"),
            (self.depth >= 0 and self.w_rej > 0 and self.sure > 0, "depth ≥ 0, w_rej > 0 and sure > 0"),
        )
        for holds, rule in rules:
            if not holds:
                raise SpecDecError(f"training settings: need {rule}")
