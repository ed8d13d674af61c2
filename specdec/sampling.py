"""The mathematics of drawing tokens: logits → warped distribution → draw, each row with settings and a source of its
own.

Everything here runs in the dtype of the logits it is given (float32 in use, float64 to prove exactness); the draws come
from a `Draws` object and from nowhere else, so that a test can enumerate every outcome instead of sampling it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from specdec.errors import SpecDecError
from specdec.params import Sampling

_COLDEST = 1e-6
"""Below this temperature float32 tells no two logits apart that it would not at this one."""


class Draws(Protocol):
    """Where one row's randomness comes from."""

    def categorical(self, probs: Tensor) -> int:
        """An index of `probs` (float [vocab], ≥ 0, positive sum), drawn in proportion to it; never one of weight 0."""
        ...

    def accepted(self, chances: Sequence[float]) -> int:
        """How many leading trials succeed, trial i with probability min(1, chances[i]) (0 ≤ result ≤ len)."""
        ...


class UniformDraws:
    """Draws that turn the numbers of one stream into outcomes. uniform: the next number, in [0, 1)."""

    def __init__(self, uniform: Callable[[], float]) -> None:
        self.uniform = uniform

    def categorical(self, probs: Tensor) -> int:
        return int(_invert_one(probs, self.uniform()).item())

    def accepted(self, chances: Sequence[float]) -> int:
        # u < chance with u in [0, 1): certain at chance ≥ 1, impossible at 0.
        for index, chance in enumerate(chances):
            if self.uniform() >= chance:
                return index
        return len(chances)


class SeededDraws(UniformDraws):
    """Draws from one explicit generator; the same seed gives the same draws on every machine (the generator is on
    CPU)."""

    def __init__(self, seed: int | None) -> None:
        super().__init__(self._next)
        self._generator = torch.Generator()
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed)
        self._ready: list[float] = []

    def _next(self) -> float:
        """53 random bits."""
        if not self._ready:
            # One call for many numbers: a call of its own for each would cost more than the draw.
            block = torch.rand(256, generator=self._generator, dtype=torch.float64)
            self._ready = block.tolist()[::-1]
        return self._ready.pop()


def draw_lines(probs: Tensor, sources: Sequence[Draws]) -> list[int]:
    """One token from each line of `probs` (float [n, vocab]), line i with sources[i]; in one pass where that is the
    same."""
    streams = [source for source in sources if isinstance(source, UniformDraws)]
    if len(streams) == len(sources):
        return _invert(probs, [source.uniform() for source in streams])
    return [source.categorical(line) for source, line in zip(sources, probs, strict=True)]


def draw_one(probs: Tensor, source: Draws) -> Tensor:
    """One token from a single line, float [vocab] → int64 [1]."""
    if isinstance(source, UniformDraws):
        return _invert_one(probs, source.uniform())
    return torch.tensor([source.categorical(probs)], device=probs.device)


def _invert(probs: Tensor, uniforms: list[float]) -> list[int]:
    """The first index whose cumulative mass exceeds u·total. In float64: float32 sums would bias a large vocabulary's
    tail."""
    if len(uniforms) == 1:
        return [int(_invert_one(probs[0], uniforms[0]).item())]
    cdf = probs.cumsum(-1, dtype=torch.float64)
    # u·total may round up to total, and the first index above it would then lie past the last possible token.
    points = [
        min(u * total, math.nextafter(total, 0.0)) for u, total in zip(uniforms, cdf[:, -1].tolist(), strict=True)
    ]
    at = torch.tensor(points, dtype=torch.float64, device=cdf.device).unsqueeze(-1)
    found: list[int] = torch.searchsorted(cdf, at, right=True).squeeze(-1).tolist()
    return found


def _invert_one(probs: Tensor, u: float) -> Tensor:
    """The same for one line, with half the operations: int64 [1]."""
    cdf = probs.cumsum(-1, dtype=torch.float64)
    total: float = cdf[-1].item()
    return torch.searchsorted(cdf, min(u * total, math.nextafter(total, 0.0)), right=True).view(1)


class Warper:
    """The settings of a fixed group of rows, as tensors, so that one call warps the logits of all of them.

    rows: one Sampling per row. dtype: of the logits to come. `greedy` and `seen_matters` let a caller skip work.
    """

    def __init__(self, rows: Sequence[Sampling], dtype: torch.dtype, device: torch.device) -> None:
        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device).unsqueeze(-1)

        self.greedy = all(row.temperature == 0 for row in rows)
        self.seen_matters = any(row.repetition_penalty != 1 for row in rows)
        self._some_greedy = any(row.temperature == 0 for row in rows)
        self._top_k = any(row.top_k > 0 for row in rows)
        self._top_p = any(row.top_p < 1 for row in rows)
        self._hot = any(row.temperature not in (0, 1) for row in rows)
        # A greedy row keeps temperature 1 here, so that its confidence is the model's own; it is made one-hot apart.
        self._temperatures = column([max(row.temperature, _COLDEST) if row.temperature else 1.0 for row in rows])
        self._penalties = column([row.repetition_penalty for row in rows])
        self._ks = torch.tensor([[row.top_k] for row in rows], device=device)
        self._ps = column([row.top_p for row in rows])
        self._cold = torch.tensor([[row.temperature == 0] for row in rows], device=device)

    def penalised(self, logits: Tensor, of: Tensor | None, seen: Tensor | None) -> Tensor:
        """CTRL's penalty on tokens already `seen` (bool [n, vocab]): positive logits divided, negative multiplied."""
        if seen is None:
            return logits
        penalty = _pick(self._penalties, of)
        return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)

    def probabilities(self, logits: Tensor, of: Tensor | None = None) -> Tensor:
        """The warped distribution of penalised logits, [n, vocab] → [n, vocab]; a greedy row's is one-hot at the
        largest.

        of: int64 [n], which row of the group each line belongs to; None when line i is row i, or all are one row's.
        """
        warped = torch.softmax(self.filtered(logits, of), dim=-1)
        if not self._some_greedy:
            return warped
        one_hot = torch.zeros_like(warped).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)
        return torch.where(_pick(self._cold, of), one_hot, warped)

    def confidence(self, logits: Tensor, warped: Tensor, of: Tensor | None = None) -> Tensor:
        """The distribution that stop policies read: `warped`, but for greedy rows the softmax of their (penalised)
        logits."""
        if not self._some_greedy:
            return warped
        return torch.where(_pick(self._cold, of), torch.softmax(logits, dim=-1), warped)

    def filtered(self, logits: Tensor, of: Tensor | None = None) -> Tensor:
        """Temperature, top-k and top-p on penalised logits: removed tokens become -inf."""
        if self._hot:
            # Of the distance to the largest, which no temperature makes overflow.
            logits = (logits - logits.amax(-1, keepdim=True)) / _pick(self._temperatures, of)
        if self._top_k:
            logits = _keep_top_k(logits, _pick(self._ks, of))
        if self._top_p:
            logits = _keep_top_p(logits, _pick(self._ps, of))
        return logits


def _pick(column: Tensor, of: Tensor | None) -> Tensor:
    return column if of is None else column[of]


def _keep_top_k(logits: Tensor, ks: Tensor) -> Tensor:
    vocab = logits.shape[-1]
    ranks = torch.where(ks > 0, ks.clamp(max=vocab), vocab) - 1
    kth = logits.sort(dim=-1, descending=True).values.gather(-1, ranks.expand(*logits.shape[:-1], 1))
    return logits.masked_fill(logits < kth, -math.inf)


def _keep_top_p(logits: Tensor, ps: Tensor) -> Tensor:
    ordered, index = logits.sort(dim=-1, descending=True, stable=True)
    probs = torch.softmax(ordered, dim=-1)
    # A token stays when the mass *before* it is short of p, so the one that crosses p stays and the set is never empty.
    drop = (probs.cumsum(-1) - probs >= ps) & (ps < 1)
    drop[..., 0] = False
    return logits.masked_fill(torch.zeros_like(drop).scatter(-1, index, drop), -math.inf)


def seen(histories: Sequence[Sequence[int]], logits: Tensor) -> Tensor:
    """bool [n, vocab]: which tokens each line's history holds."""
    held = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
    for line, tokens in zip(held, histories, strict=True):
        line[torch.tensor(tokens, device=logits.device)] = True
    return held


def require_finite(peaks: Sequence[float], model: str) -> None:
    """Refuse logits whose maximum is NaN or infinite (a NaN anywhere in a line makes its maximum NaN)."""
    for peak in peaks:
        if not math.isfinite(peak):
            raise SpecDecError(
                f"the {model} model's logits hold {peak}: its weights are damaged or overflow their dtype; "
                "load it in float32, or check the file"
            )
