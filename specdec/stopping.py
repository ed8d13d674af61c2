"""When `specdec++` stops, as it is tuned with a head: at temperature 0 and above it by itself, for what a chance is
worth differs. At temperature 0 a token stands or falls, and those after one that fell are of no use; above it chances
are all there is to know."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from specdec.policies.specdecpp import SpecDecPP

Stage = tuple[int, float, int]
"""(batch, h, the most tokens of a draft), as in `SpecDecPP.stages`."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """threshold: the derived h, by the costs of the machine it was trained on; None = not derived yet. multiplier: the
    factor on ρ·(c + c_v) tuned with it (`specdec.threshold`), which holds on other machines too. stages: from so many
    rows on, tuned where it was trained (`specdec.stages`)."""

    threshold: float | None = None
    multiplier: float = 1.0
    stages: tuple[Stage, ...] = ()

    def __post_init__(self) -> None:
        # As read from a file, they are lists.
        object.__setattr__(self, "stages", tuple((int(n), float(h), int(most)) for n, h, most in self.stages))
        sizes = [size for size, _, _ in self.stages]
        bounds = [h for _, h, _ in self.stages] + ([] if self.threshold is None else [self.threshold])
        rules = (
            (all(0 <= h <= 1 for h in bounds), "thresholds must lie in [0, 1]"),
            (0 < self.multiplier < math.inf, "multiplier must be > 0"),
            (sizes == sorted(set(sizes)) and min(sizes, default=1) >= 1, "stages must rise from a batch ≥ 1 on"),
            (all(most >= 0 for _, _, most in self.stages), "the most tokens of a stage must be ≥ 0"),
        )
        for holds, rule in rules:
            if not holds:
                raise ValueError(rule)

    def policy(self) -> SpecDecPP:
        """`specdec++` as tuned; with its own threshold where none was derived."""
        tuned = SpecDecPP(stages=self.stages)
        return tuned if self.threshold is None else replace(tuned, threshold=self.threshold)
