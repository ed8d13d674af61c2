"""What a model costs: the model table's price, else litellm's published table where litellm is installed, else unknown.

litellm's table is read as a file; litellm itself is not imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from archon.models import ModelSpec
from archon.types import Price, Usage

_TABLE = "model_prices_and_context_window_backup.json"
_PRICED_CLIENTS = ("openai", "litellm")
"""Clients whose upstream names are those of litellm's table."""


def price_of(spec: ModelSpec, resources: MutableMapping[str, Any]) -> Price | None:
    """The model's price; None = unknown, never 0.

    Args:
        resources: where the table is kept once it is read.
    """
    if spec.known_price is not None or spec.client not in _PRICED_CLIENTS:
        return spec.known_price
    if "litellm prices" not in resources:
        resources["litellm prices"] = litellm_table()
    return listed_price(resources["litellm prices"], spec.upstream)


def listed_price(table: Mapping[str, Any], name: str) -> Price | None:
    """The price of `name` in litellm's table, with or without its provider prefix; None where it is not in it."""
    for key in (name, name.partition("/")[2]):
        row = table.get(key) if key else None
        if isinstance(row, dict) and "input_cost_per_token" in row:
            prompt, completion = row["input_cost_per_token"], row.get("output_cost_per_token")
            if prompt is not None and completion is not None:
                return Price(float(prompt) * 1e6, float(completion) * 1e6)
    return None


def litellm_table() -> Mapping[str, Any]:
    """litellm's packaged price table; empty where litellm is not installed or has it in another form."""
    found = find_spec("litellm")
    for folder in (found.submodule_search_locations or ()) if found else ():
        try:
            table = json.loads((Path(folder) / _TABLE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(table, dict):
            return table
    return {}


def priced(usage: Usage, price: Price | None) -> Usage:
    """The usage with its cost; None = unknown.

    A usage without prompt tokens was not reported by the upstream, so its cost is unknown too, unless the model is
    free.
    """
    cost: float | None = None
    if price is not None and (usage.prompt_tokens > 0 or price.prompt == price.completion == 0):
        cost = price.cost(usage.prompt_tokens, usage.completion_tokens)
    if usage.drafted_tokens:
        return replace(usage, cost_usd=cost)
    # `replace` takes longer, and this is made for every call.
    return Usage(usage.calls, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, cost, usage.seconds)
