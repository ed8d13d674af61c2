"""Weights kept in float16: the products are those of float32, to the bit alike alone and in company."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from specdec import halves
from specdec.halves import Halves
from specdec.product import Floats, product
from tests.specdec.test_product import check


def fitting(rows: int, columns: int, unit: float = 1.0) -> Tensor:
    """Weights that float16 holds, times a power of two."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, columns, generator=generator).half().float() * unit


def of_halves(weight: Tensor) -> Halves:
    made = Halves.of(weight)
    if made is None:
        pytest.skip("torch has no product with float16 weights here")
    return made


@pytest.mark.parametrize("unit", [1.0, 2.0**-9, 2.0**-40, 2.0**20])
def test_weights_that_float16_holds_are_kept_so_and_lose_nothing(unit: float) -> None:
    weight = fitting(24, 40, unit)
    made = of_halves(weight)
    check(made, weight, torch.float32)
    # Rows of the unit matrix read the weights back, to the bit.
    found = torch.empty(24, 40)
    made.into(torch.eye(24), found)
    assert torch.equal(found * made.unit, weight)


def test_a_row_has_the_same_bits_alone_and_among_others() -> None:
    made, x = of_halves(fitting(96, 288)), torch.randn(40, 96, generator=torch.Generator().manual_seed(2))
    together = torch.empty(40, 288)
    made.into(x, together)
    for rows in (1, 2, 5, 16):
        found = torch.empty(rows, 288)
        made.into(x[:rows].contiguous(), found)
        assert torch.equal(found, together[:rows])


def test_threads_share_a_large_weight_and_give_the_bits_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, x = fitting(96, 288, 0.5), torch.randn(7, 96, generator=torch.Generator().manual_seed(2))
    alone, shared = torch.empty(7, 288), torch.empty(7, 288)
    of_halves(weight).into(x, alone)
    monkeypatch.setattr(halves, "_SHARED", weight.numel())
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    made = of_halves(weight)
    assert made._multiply is halves._by_threads
    made.into(x, shared)
    assert torch.equal(alone, shared)
    check(made, weight, torch.float32)


@pytest.mark.parametrize(
    "weight",
    [
        torch.full((8, 8), 1.0 + 2**-12),
        # The largest and the smallest are too far apart for one power of two.
        torch.diag(torch.tensor([2.0**20, *[2.0**-20] * 7])),
        torch.full((8, 8), torch.nan),
        torch.full((8, 8), torch.inf),
        fitting(8, 8).double(),
        torch.empty(0, 8),
    ],
    ids=["too fine", "too wide", "nan", "infinite", "float64", "empty"],
)
def test_what_float16_does_not_hold_is_not_kept_in_it(weight: Tensor) -> None:
    assert Halves.of(weight) is None


@pytest.mark.parametrize("wrong", [AttributeError("gone"), RuntimeError("no such processor"), TypeError("changed")])
def test_where_torch_has_no_such_product_weights_stay_as_they_are(
    wrong: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(x: Tensor, packed: Tensor, out: Tensor | None) -> Tensor:
        raise wrong

    monkeypatch.setattr(halves, "_by_one", missing)
    weight = fitting(24, 40)
    assert isinstance(product(weight, large=False), Floats)
    check(product(weight, large=False), weight, torch.float32)


def test_a_product_that_computes_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "_by_one", lambda x, packed, out: torch.zeros(len(x), 40))
    assert isinstance(product(fitting(24, 40), large=False), Floats)


def test_packing_says_nothing() -> None:
    # In a process of its own: torch warns once in each.
    code = "import torch; from specdec.halves import Halves; Halves.of(torch.ones(8, 8)); print('packed')"
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("packed", 0)
    assert "deprecated" not in done.stderr


def test_a_large_scaled_weight_is_kept_in_float16() -> None:
    # Columns whose sums are nearly nothing beside their terms: rounding is judged by the terms.
    weight = fitting(512, 2048, 2.0**-30)
    if Halves.of(torch.ones(8, 8)) is not None:
        assert Halves.of(weight) is not None


def test_a_product_of_zeros_is_seen_even_where_weights_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "_by_one", lambda x, packed, out: torch.zeros(len(x), 40))
    assert Halves.of((fitting(24, 40) * 2.0**-10).half().float()) is None
