"""x·W on a CPU for few rows, in the memory layout that is fastest for one row and for some: verifying drafts is a
product of few rows.

Weights that float16 holds are kept in it (`specdec.halves`). Of others, measured on an AMD EPYC with MKL and oneDNN,
one thread, all products of a model: at width 128 (7 MB) 4 rows take 0.36 ms row by row (MKL's own packing 0.47,
oneDNN's 0.64), one row 0.18; at width 256 (38 MB) 4 rows take 3.0 ms packed by oneDNN and 4.9 ms row by row, one row
3.7 and 3.2.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from specdec.halves import Halves

SMALL = 16 << 20
"""Bytes of all weights of a model up to which they are taken to stay in the cache."""
_FEW = 12


class Product(Protocol):
    """Multiplies by a weight, [in, out], from the right.

    unit: what x has to be multiplied by before `into`, a power of two: a caller that scales x anyway does both at once.
    """

    unit: float

    def into(self, x: Tensor, out: Tensor) -> None:
        """out ← x·W/unit; x: [n, in], out: [n, out], both contiguous."""
        ...

    def add_to(self, base: Tensor, x: Tensor) -> None:
        """base ← base + x·W."""
        ...


def product(weight: Tensor, *, large: bool) -> Product:
    """large: whether the model's weights are beyond `SMALL` bytes. The layout is chosen by shape, values and the number
    of threads, never by a clock, so that a seed gives the same bits in every run."""
    return Halves.of(weight) or Floats(weight, large=large)


class Floats:
    """A weight as it is. copied: whether it may be laid out anew for speed."""

    __slots__ = ("_packed", "_weight", "unit")

    def __init__(self, weight: Tensor, *, large: bool, copied: bool = True) -> None:
        self.unit = 1.0
        self._weight = weight.contiguous() if copied else weight
        self._packed = _packed(weight) if large else None

    def into(self, x: Tensor, out: Tensor) -> None:
        if self._packed is not None and x.shape[0] > 1:
            out.copy_(_by_onednn(x, self._packed))
        else:
            torch.mm(x, self._weight, out=out)

    def add_to(self, base: Tensor, x: Tensor) -> None:
        if self._packed is not None and x.shape[0] > 1:
            base.add_(_by_onednn(x, self._packed))
        else:
            base.addmm_(x, self._weight)


def _packed(weight: Tensor) -> Tensor | None:
    """The weight in oneDNN's own layout; None where there is no oneDNN for it."""
    if weight.dtype != torch.float32 or weight.device.type != "cpu":
        return None
    try:
        packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.t().contiguous(), _FEW)
        _by_onednn(torch.zeros(2, weight.shape[0]), packed)
    except (AttributeError, RuntimeError):
        return None  # torch was built without oneDNN, or has moved these two, which are not of its stable surface
    return packed


def _by_onednn(x: Tensor, packed: Tensor) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
    return product
