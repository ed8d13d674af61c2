"""Draws tokens for many rows at once; what a row draws depends on its own logits, settings, seed and step alone.

The uniform number of row r at step t is a pure function of (seed of r, t): a counter run through the finaliser of
SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"), 53 bits. It is put through
the inverse of the row's cumulative distribution, in vocabulary order and float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Draw:
    """How one row's tokens are drawn."""

    seed: int
    """0 ≤ seed < 2**64."""
    temperature: float = 1.0
    """0 = the most likely token."""
    top_k: int | None = None
    top_p: float | None = None
    """Of what `top_k` left, the most likely tokens whose mass reaches this (Holtzman et al. 2020), in (0, 1]."""

    @property
    def filtered(self) -> bool:
        """Whether some tokens are out of reach."""
        return self.temperature > 0 and (self.top_k is not None or (self.top_p is not None and self.top_p < 1))


def uniforms(seeds: Sequence[int], steps: Sequence[int]) -> Any:
    """Numbers in [0, 1), one for each (seed, step ≥ 0): a float64 array."""
    import numpy as np

    golden = np.uint64(_GOLDEN)
    with np.errstate(over="ignore"):
        keys = _mixed(np.array(seeds, dtype=np.uint64) + golden)
        bits = _mixed(keys + (np.array(steps, dtype=np.uint64) + np.uint64(1)) * golden)
    return (bits >> np.uint64(11)) * 2.0**-53


def uniform(seed: int, step: int) -> float:
    """One of `uniforms`, for where an array would cost more than the number."""
    bits = _mixed_one(_mixed_one(seed + _GOLDEN) + (step + 1) * _GOLDEN)
    return float((bits >> 11) * 2.0**-53)


def _mixed_one(bits: int) -> int:
    bits &= _MASK
    bits = (bits ^ (bits >> 30)) * _FIRST & _MASK
    bits = (bits ^ (bits >> 27)) * _SECOND & _MASK
    return bits ^ (bits >> 31)


def _mixed(bits: Any) -> Any:
    import numpy as np

    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(_FIRST)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(_SECOND)
    return bits ^ (bits >> np.uint64(31))


def draw_tokens(logits: Tensor, draws: Sequence[Draw], steps: Sequence[int]) -> list[int]:
    """One token a row.

    Args:
        logits: float [rows, vocabulary], finite.
        steps: how many tokens each row has drawn before.
    """
    import torch

    exact = logits.to(torch.float64)
    greedy = exact.argmax(-1)
    if all(draw.temperature == 0 for draw in draws):
        chosen: list[int] = greedy.tolist()
        return chosen
    heat = torch.tensor([draw.temperature or 1.0 for draw in draws], dtype=torch.float64)[:, None]
    weights = ((exact - exact.amax(-1, keepdim=True)) / heat).exp_()
    narrow = [index for index, draw in enumerate(draws) if draw.filtered]
    if narrow:
        weights[narrow] = _filtered(weights[narrow], [draws[index] for index in narrow])
    sums = weights.cumsum(-1)
    points = torch.from_numpy(uniforms([draw.seed for draw in draws], steps))[:, None] * sums[:, -1:]
    # u < 1, but u times the sum may round up to the sum, behind which no token lies.
    points = torch.minimum(points, torch.nextafter(sums[:, -1:], torch.zeros_like(points)))
    drawn = torch.searchsorted(sums, points, right=True)[:, 0]
    cold = torch.tensor([draw.temperature == 0 for draw in draws])
    result: list[int] = torch.where(cold, greedy, drawn).tolist()
    return result


def _filtered(weights: Tensor, draws: Sequence[Draw]) -> Tensor:
    """The weights with those outside top_k, then top_p, at zero; ties go to the smaller token."""
    import torch

    size = weights.shape[-1]
    ordered, order = weights.sort(stable=True, dim=-1, descending=True)
    top_k = torch.tensor([min(draw.top_k or size, size) for draw in draws])[:, None]
    ordered = ordered.masked_fill(torch.arange(size) >= top_k, 0.0)
    top_p = torch.tensor([1.0 if draw.top_p is None else draw.top_p for draw in draws], dtype=torch.float64)[:, None]
    before = ordered.cumsum(-1) - ordered
    # The mass before the first token is 0 and no row may lose that one, nor one where nothing was to be cut.
    outside = (before >= top_p * ordered.sum(-1, keepdim=True)) & (top_p < 1)
    outside[:, 0] = False
    return torch.zeros_like(weights).scatter_(-1, order, ordered.masked_fill(outside, 0.0))


def chances(logits: Tensor, tokens: Sequence[int], top: int) -> list[tuple[float, list[tuple[int, float]]]]:
    """Each row's log probability (nats, of the model itself: temperature 1, nothing filtered) of its token, and the
    `top` most likely tokens with theirs."""
    import torch

    logs = logits.to(torch.float64).log_softmax(-1)
    own = logs[torch.arange(len(tokens)), torch.tensor(list(tokens))].tolist()
    values, indices = logs.topk(min(top, logs.shape[-1]), -1)
    best = [list(zip(*row, strict=True)) for row in zip(indices.tolist(), values.tolist(), strict=True)]
    return list(zip(own, best, strict=True))
