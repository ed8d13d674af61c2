"""A product is the same in every layout."""

from __future__ import annotations

import pytest
import torch

from specdec import product
from specdec.product import Product


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_layout_gives_the_product(large: bool, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(24, 40, generator=generator, dtype=dtype)
    made = Product(weight, large=large)
    for rows in (1, 2, 3, 12, 13, 40):
        x = torch.randn(rows, 24, generator=generator, dtype=dtype)
        base = torch.randn(rows, 40, generator=generator, dtype=dtype)
        expected = x.double() @ weight.double()
        found, sums = torch.empty(rows, 40, dtype=dtype), base.clone()
        made.into(x, found)
        made.add_to(sums, x)
        # Sums of 24 products of unit size: float32 is off by 24 · 2^-24 or so.
        assert torch.allclose(found.double(), expected, atol=1e-5)
        assert torch.allclose(sums.double(), base.double() + expected, atol=1e-5)


def test_where_there_is_no_onednn_the_product_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(x: torch.Tensor, packed: torch.Tensor) -> torch.Tensor:
        raise AttributeError("no such operation")

    monkeypatch.setattr(product, "_by_onednn", missing)
    weight, x = torch.randn(5, 7), torch.randn(3, 5)
    found = torch.empty(3, 7)
    Product(weight, large=True).into(x, found)
    assert torch.allclose(found, x @ weight, atol=1e-5)
