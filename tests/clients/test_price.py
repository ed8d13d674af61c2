"""Prices: the table's own, litellm's where it is installed, else unknown and never 0."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from archon.clients.price import listed_price, litellm_table, price_of, priced
from archon.models import ModelSpec
from archon.types import Price, Usage

TABLE = {
    "gpt-x": {"input_cost_per_token": 1.5e-6, "output_cost_per_token": 6e-6},
    "embed": {"input_cost_per_token": 1e-7},
    "image": {"input_cost_per_image": 1},
}


@pytest.fixture
def litellm_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package named litellm that has a price file and may not be imported."""
    folder = tmp_path / "litellm"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise AssertionError('litellm was imported for its prices')")
    (folder / "model_prices_and_context_window_backup.json").write_text(json.dumps(TABLE))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "litellm", raising=False)
    return folder


def test_the_rows_own_price_wins(litellm_installed: Path) -> None:
    spec = ModelSpec.model_validate({"id": "gpt-x", "price": {"prompt": 0, "completion": 0}})
    assert price_of(spec, {}) == Price(0, 0)


def test_litellms_table_is_read_once_and_without_importing_it(litellm_installed: Path) -> None:
    resources: dict[str, Any] = {}
    assert price_of(ModelSpec(id="gpt-x"), resources) == Price(1.5, 6)
    (litellm_installed / "model_prices_and_context_window_backup.json").unlink()
    assert price_of(ModelSpec(id="mine", name="openai/gpt-x", client="litellm"), resources) == Price(1.5, 6)


@pytest.mark.parametrize("name", ["unknown", "embed", "image", "x/unknown", ""])
def test_a_model_the_table_does_not_price_is_unknown(name: str) -> None:
    assert listed_price(TABLE, name) is None


def test_only_clients_with_litellms_names_are_looked_up(litellm_installed: Path) -> None:
    assert price_of(ModelSpec(id="gpt-x", client="replay"), {}) is None


@pytest.mark.parametrize("content", ["not json", "[1]"])
def test_a_table_in_another_form_is_no_table(litellm_installed: Path, content: str) -> None:
    (litellm_installed / "model_prices_and_context_window_backup.json").write_text(content)
    assert litellm_table() == {}


def test_without_litellm_there_is_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archon.clients.price.find_spec", lambda name: None)
    assert price_of(ModelSpec(id="gpt-x"), {}) is None


def test_an_unreported_usage_costs_an_unknown_sum_unless_the_model_is_free() -> None:
    assert priced(Usage(1, 10, 10), Price(1, 2)).cost_usd == pytest.approx(30e-6)
    assert priced(Usage(1), Price(1, 2)).cost_usd is None
    assert priced(Usage(1), Price(0, 0)).cost_usd == 0
    assert priced(Usage(1, 10, 10), None).cost_usd is None
