"""x·W in float32 with W kept in float16, on a CPU: half the memory, and several rows for little more than one.

For weights that float16 holds exactly, once all are divided by one power of two: most of the models that are stored in
16 bits. They are widened as they are read (FBGEMM), so the products are those of float32. Measured on an AMD EPYC with
one thread, all products of a model: at width 256 (41 MB in float32) one row takes 0.6 ms where MKL takes 3.0, eight
take 2.0 where oneDNN's packed form takes 3.6; at width 128 (7 MB) 0.13 and 0.24, 0.33 and 0.54. Large weights are
shared among threads where there are several: 1024 × 4096 for eight rows takes 0.65 ms on one and 0.36 on two, with MKL
2.1 and 1.9.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_LARGEST = 15
"""Weights are scaled to below 2^15, half of what float16 reaches, so that as many small ones as can be stay exact."""
_SHARED = 1 << 20
"""Entries of a weight from which on threads share it: what it takes to call them is more than what they save below."""

_QUIETLY = threading.Lock()
"""Models may be loaded in several threads, and what `warnings` ignores is the whole process's."""

Multiply = Callable[[Tensor, Any, Tensor | None], Tensor]
"""(x, a packed weight, where the result is to go if anywhere) → x·W."""


class Halves:
    """A `specdec.product.Product`: a weight in float16 and one power of two beside it."""

    __slots__ = ("_multiply", "_packed", "unit")

    def __init__(self, multiply: Multiply, packed: Any, unit: float) -> None:
        self._multiply, self._packed, self.unit = multiply, packed, unit

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
        shared = weight.numel() >= _SHARED and torch.get_num_threads() > 1
        multiply = _by_threads if shared else _by_one
        packed = _packed_halves(scaled, multiply)
        return None if packed is None else cls(multiply, packed, unit)

    def into(self, x: Tensor, out: Tensor) -> None:
        self._multiply(x, self._packed, out)

    def add_to(self, base: Tensor, x: Tensor) -> None:
        product = self._multiply(x, self._packed, None)
        # Naming a factor takes longer than applying it.
        base.add_(product) if self.unit == 1 else base.add_(product, alpha=self.unit)


def _unit(weight: Tensor) -> float:
    """The power of two by which the largest entry is brought below 2^15; 1 where none is needed to be exact."""
    if torch.equal(weight.half().float(), weight):
        return 1.0
    _, exponent = math.frexp(weight.abs().max().item())
    return 2.0 ** (exponent - _LARGEST)


def _packed_halves(weight: Tensor, multiply: Multiply) -> Any | None:
    """weight: float32 [out, in]. None where torch was built without FBGEMM, the processor lacks what it needs, or these
    functions, which torch means to drop one day, are gone."""
    try:
        with _QUIETLY, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            packed: Any = _pack_for(multiply)(weight)
            right = _is_right(multiply, packed, weight)
    except (AttributeError, RuntimeError, TypeError):
        return None
    return packed if right else None


def _is_right(multiply: Multiply, packed: Any, weight: Tensor) -> bool:
    """Whether a product is what it should be, up to float32's rounding of its sums."""
    probe = torch.randn(1, weight.shape[1], generator=torch.Generator().manual_seed(0))
    wrong = (multiply(probe, packed, None) - probe @ weight.t()).abs()
    return bool((wrong <= 1e-5 * (probe.abs() @ weight.abs().t())).all())


def _pack_for(multiply: Multiply) -> Callable[[Tensor], Any]:
    if multiply is _by_threads:
        return lambda weight: torch.ops.quantized.linear_prepack_fp16(weight, None)
    pack: Callable[[Tensor], Any] = torch.fbgemm_pack_gemm_matrix_fp16
    return pack


def _by_one(x: Tensor, packed: Any, out: Tensor | None) -> Tensor:
    # It leaves the processor's wide registers marked as in use, which makes MKL's next product four times as slow; any
    # operation of torch's own between the two, of which a model has many, puts that right.
    if out is None:
        found: Tensor = torch.fbgemm_linear_fp16_weight_fp32_activation(x, packed, None)
        return found
    torch.fbgemm_linear_fp16_weight_fp32_activation(x, packed, None, out)
    return out


def _by_threads(x: Tensor, packed: Any, out: Tensor | None) -> Tensor:
    found: Tensor = torch.ops.quantized.linear_dynamic_fp16(x, packed)
    return found if out is None else out.copy_(found)
