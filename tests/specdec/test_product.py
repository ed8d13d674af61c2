"""A product is the same in every layout."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from specdec import product as layouts
from specdec.product import Floats, Product, product


def check(made: Product, weight: Tensor, dtype: torch.dtype) -> None:
    generator, size = torch.Generator().manual_seed(1), weight.abs().max().item()
    for rows in (1, 2, 3, 12, 13, 40):
        x = torch.randn(rows, len(weight), generator=generator, dtype=dtype)
        base = torch.randn(rows, weight.shape[1], generator=generator, dtype=dtype) * size
        expected = x.double() @ weight.double()
        found, sums = torch.empty(rows, weight.shape[1], dtype=dtype), base.clone()
        made.into(x * made.unit, found)
        made.add_to(sums, x)
        # Sums of 24 products: float32 is off by 24 · 2^-24 of their size or so.
        assert torch.allclose(found.double(), expected, atol=1e-5 * size)
        assert torch.allclose(sums.double(), base.double() + expected, atol=1e-5 * size)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_layout_gives_the_product(large: bool, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(24, 40, generator=generator, dtype=dtype)
    assert isinstance(product(weight, large=large), Floats)
    check(product(weight, large=large), weight, dtype)


def test_where_there_is_no_onednn_the_product_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(x: Tensor, packed: Tensor) -> Tensor:
        raise AttributeError("no such operation")

    monkeypatch.setattr(layouts, "_by_onednn", missing)
    weight, x = torch.randn(5, 7), torch.randn(3, 5)
    found = torch.empty(3, 7)
    Floats(weight, large=True).into(x, found)
    assert torch.allclose(found, x @ weight, atol=1e-5)
