"""x·W on a CPU for few rows, in the memory layout that is fastest for one row and for some.

Measured on an AMD EPYC with MKL and oneDNN, one thread, all products of a model, others at work on the machine: at
width 128 (7 MB of weights) 4 rows take 0.36 ms row by row (MKL's own packing 0.47, oneDNN's 0.64, column by column
0.46), one row 0.18; at width 256 (38 MB) 4 rows take 3.0 ms packed by oneDNN and 4.9 ms row by row, one row 3.7 and
3.2. Verifying drafts is a product of few rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALL = 16 << 20
"""Bytes of all weights of a model up to which they are taken to stay in the cache."""
_FEW = 12


class Product:
    """weight: [in, out]; multiplies from the right. large: whether the model's weights are beyond `SMALL` bytes.

    The layout is chosen by shape alone, never by a clock, so that a seed gives the same bits in every run.
    """

    __slots__ = ("_packed", "_weight")

    def __init__(self, weight: Tensor, *, large: bool) -> None:
        self._weight = weight.contiguous()
        self._packed = _packed(weight) if large else None

    def into(self, x: Tensor, out: Tensor) -> None:
        """out ← x·W; x: [n, in], out: [n, out], contiguous."""
        if self._packed is not None and x.shape[0] > 1:
            out.copy_(_by_onednn(x, self._packed))
        else:
            torch.mm(x, self._weight, out=out)

    def add_to(self, base: Tensor, x: Tensor) -> None:
        """base ← base + x·W."""
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
