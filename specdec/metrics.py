"""How good predicted acceptance probabilities are: calibration error, discrimination, and the calibration itself.

Labels may be probabilities: an example of label P counts as P of an accepted and 1 − P of a rejected one. Examples may
have weights, float [n] ≥ 0; without them all count alike.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def expected_calibration_error(chances: Tensor, labels: Tensor, weights: Tensor | None = None, bins: int = 15) -> float:
    """ECE (Guo et al., arXiv 1706.04599, eq. 3): mean |label − chance| over bins of equal width. Float [n] each → [0,
    1]."""
    places = (chances * bins).long().clamp(max=bins - 1)
    counts = _weights(weights, labels)
    gaps = torch.zeros(bins, dtype=torch.float64).index_add_(0, places, (labels - chances).double() * counts)
    return float(gaps.abs().sum() / counts.sum())


def auroc(chances: Tensor, labels: Tensor, weights: Tensor | None = None) -> float:
    """The chance that an accepted token is scored above a rejected one, ties counting half. 0.5 where one kind is
    missing."""
    _, groups = torch.unique(chances, return_inverse=True)
    count = int(groups.max()) + 1
    counts = _weights(weights, labels)
    accepted = torch.zeros(count, dtype=torch.float64).index_add_(0, groups, labels.double() * counts)
    rejected = torch.zeros(count, dtype=torch.float64).index_add_(0, groups, (1 - labels.double()) * counts)
    pairs = float(accepted.sum() * rejected.sum())
    if pairs == 0:
        return 0.5
    below = rejected.cumsum(0) - rejected
    return float((accepted * (below + rejected / 2)).sum()) / pairs


def weighted_loss(logits: Tensor, labels: Tensor, w_rej: float, weights: Tensor | None = None) -> Tensor:
    """−[P·log P̂ + w_rej·(1 − P)·log(1 − P̂)], divided by the weighted label mass (2405.19715, section 3.3; w_acc =
    1)."""
    mass = labels + w_rej * (1 - labels)
    targets = labels / mass
    if weights is not None:
        mass = mass * weights
    return F.binary_cross_entropy_with_logits(logits, targets, weight=mass, reduction="sum") / mass.sum()


def fit_calibration(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> tuple[float, float]:
    """(scale > 0, shift) for which σ(scale·logit + shift) has the smallest cross-entropy to the labels.

    Temperature scaling (1706.04599, section 4.2) with a shift: a loss that weighs rejections moves the log-odds.
    Newton's method from the constant prediction; the loss is convex in both.
    """
    x, y, counts = logits.double(), labels.double(), _weights(weights, labels)
    mean = float(((y * counts).sum() / counts.sum()).clamp(1e-4, 1 - 1e-4))
    scale, shift = torch.zeros((), dtype=torch.float64), torch.tensor(mean / (1 - mean), dtype=torch.float64).log()
    for _ in range(50):
        chance = torch.sigmoid(scale * x + shift)
        weight, miss = counts * chance * (1 - chance), counts * (y - chance)
        # The ridge keeps the step finite where labels and logits separate perfectly.
        xx, x1, one = (weight * x * x).sum() + 1e-3, (weight * x).sum(), weight.sum() + 1e-3
        gx, g1 = (miss * x).sum(), miss.sum()
        det = xx * one - x1 * x1
        scale, shift = scale + (one * gx - x1 * g1) / det, shift + (xx * g1 - x1 * gx) / det
    # A head that has learnt nothing may fit a slope below 0; turned around it would be a lucky guess.
    return max(1e-3, float(scale)), float(shift)


def _weights(weights: Tensor | None, labels: Tensor) -> Tensor:
    return torch.ones(len(labels), dtype=torch.float64) if weights is None else weights.double()
