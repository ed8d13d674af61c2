"""x·W on a CPU for few rows, in the memory layout that is fastest for one row and for some.

Weights that float16 holds exactly, once all are divided by one power of two, are kept so and widened as they are read
(FBGEMM): the same float32 products from half the memory, and several rows for little more than one. That holds for
most models that are stored in 16 bits. Measured on an AMD EPYC with one thread, all products of a model: at width 256
(41 MB in float32) one row takes 0.6 ms where MKL takes 3.0, eight take 2.0 where oneDNN's packed form takes 3.6; at
width 128 (7 MB) 0.13 and 0.24, 0.33 and 0.54. Verifying drafts is a product of few rows.

Other weights: at width 128 4 rows take 0.36 ms row by row (MKL's own packing 0.47, oneDNN's 0.64), one row 0.18; at
width 256 4 rows take 3.0 ms packed by oneDNN and 4.9 ms row by row, one row 3.7 and 3.2.
"""

from __future__ import annotations

import math
import warnings
from typing import Protocol

import torch
from torch import Tensor

SMALL = 16 << 20
"""Bytes of all weights of a model up to which they are taken to stay in the cache."""
_FEW = 12
_LARGEST = 15
"""Weights are scaled to below 2^15, half of what float16 reaches, so that as many small ones as can be stay exact."""


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
    """large: whether the model's weights are beyond `SMALL` bytes. The layout is chosen by shape and values, never by a
    clock, so that a seed gives the same bits in every run."""
    return Halves.of(weight) or Floats(weight, large=large)


class Halves:
    """A weight in float16 and one power of two beside it."""

    __slots__ = ("_packed", "unit")

    def __init__(self, packed: Tensor, unit: float) -> None:
        self._packed, self.unit = packed, unit

    @classmethod
    def of(cls, weight: Tensor) -> Halves | None:
        """None where float16 does not hold the weight exactly, or the machine has no such product."""
        if weight.dtype != torch.float32 or weight.device.type != "cpu" or not weight.numel():
            return None
        if not bool(weight.isfinite().all()):
            return None
        unit = _unit(weight)
        scaled = weight.t().contiguous() / unit
        if not torch.equal(scaled.half().float(), scaled):
            return None
        packed = _packed_halves(scaled)
        return None if packed is None else cls(packed, unit)

    def into(self, x: Tensor, out: Tensor) -> None:
        _by_fbgemm(x, self._packed, out)

    def add_to(self, base: Tensor, x: Tensor) -> None:
        base.add_(_by_fbgemm(x, self._packed), alpha=self.unit)


class Floats:
    """A weight as it is."""

    __slots__ = ("_packed", "_weight", "unit")

    def __init__(self, weight: Tensor, *, large: bool) -> None:
        self.unit = 1.0
        self._weight = weight.contiguous()
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


def _unit(weight: Tensor) -> float:
    """The power of two by which the largest entry is brought below 2^15; 1 where none is needed to be exact."""
    if torch.equal(weight.half().float(), weight):
        return 1.0
    _, exponent = math.frexp(weight.abs().max().item())
    return 2.0 ** (exponent - _LARGEST)


def _packed_halves(weight: Tensor) -> Tensor | None:
    """weight: float32 [out, in]. None where torch was built without FBGEMM, the processor lacks what it needs, or these
    two functions, which torch means to drop one day, are gone."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            packed: Tensor = torch.fbgemm_pack_gemm_matrix_fp16(weight)
            probe = torch.ones(1, weight.shape[1])
            found = _by_fbgemm(probe, packed)
    except (AttributeError, RuntimeError, TypeError):
        return None
    return packed if torch.allclose(found, probe @ weight.t(), rtol=1e-3, atol=1e-3) else None


def _by_fbgemm(x: Tensor, packed: Tensor, out: Tensor | None = None) -> Tensor:
    # It leaves the processor's wide registers marked as in use, which makes MKL's next product four times as slow; any
    # operation of torch's own between the two, of which a model has many, puts that right.
    if out is None:
        found: Tensor = torch.fbgemm_linear_fp16_weight_fp32_activation(x, packed, None)
        return found
    torch.fbgemm_linear_fp16_weight_fp32_activation(x, packed, None, out)
    return out


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
