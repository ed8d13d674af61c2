"""Accept or reject drafted tokens so that the result is distributed exactly as the target's own text.

Leviathan et al. (arXiv 2211.17192, algorithm 1): token x drawn from q is accepted with probability min(1, p(x)/q(x));
at the first rejection a token is drawn from norm(max(0, p − q)); after k acceptances, one from p. Exact for any p and
q, provided that q is the very distribution x was drawn from and that no drawn token was dropped on grounds of its
value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specdec.sampling import Draws


@dataclass(frozen=True, slots=True)
class Verdict:
    """accepted: how many leading drafted tokens stand (0…k). token: the one the target adds after them."""

    accepted: int
    token: int


def verify(tokens: Sequence[int], q: Sequence[Tensor], p: Tensor, draws: Draws) -> Verdict:
    """Judge k drafted tokens of one row. q: k lines of float [vocab], p: float [k+1, vocab]; warped, each summing
    to 1."""
    accepted = draws.accepted(acceptance(tokens, q, p))
    rest = p[accepted] if accepted == len(tokens) else residual(p[accepted], q[accepted])
    return Verdict(accepted, draws.categorical(rest))


def verify_greedy(tokens: Sequence[int], best: Sequence[int]) -> Verdict:
    """The same at temperature 0, where p and q are one-hot: `best` holds the target's k+1 most likely tokens."""
    accepted = next((i for i, (x, y) in enumerate(zip(tokens, best, strict=False)) if x != y), len(tokens))
    return Verdict(accepted, best[accepted])


def acceptance(tokens: Sequence[int], q: Sequence[Tensor], p: Tensor) -> list[float]:
    """p(x_i)/q(x_i) of each drafted token, not yet cut at 1; q(x_i) > 0 because x_i was drawn from q."""
    if not tokens:
        return []
    at = torch.tensor(tokens, device=p.device).unsqueeze(-1)
    ratios: list[float] = (p[: len(tokens)].gather(-1, at) / torch.stack(list(q)).gather(-1, at)).view(-1).tolist()
    return ratios


def residual(p: Tensor, q: Tensor) -> Tensor:
    """max(0, p − q), not normalised, [vocab]. Where rounding leaves nothing of it (p = q), p itself: that case has
    probability 0 in exact arithmetic, and p is then the limit's only unbiased choice."""
    left = (p - q).clamp_(min=0)
    return left if bool(left.any()) else p


def overlap(p: Tensor, q: Tensor) -> Tensor:
    """β = Σ min(p, q), the chance that a token drawn from q is accepted (2211.17192, theorem 3.5). [n, vocab] → [n]."""
    return torch.minimum(p, q).sum(-1)
