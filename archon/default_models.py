"""Model table rows for ids that need none of their own: "zoo/NAME", "openai/NAME", and litellm's "provider/NAME".

A bare id without a provider is not guessed at.
"""

from __future__ import annotations

from collections.abc import Iterable

from archon.errors import ConfigError, UnknownNameError
from archon.models import ModelSpec, ModelTable, PriceSpec

_ZOO_ANSWER = 400
"""Tokens of the longest answer worth waiting for: a model out of its depth would else fill its whole context."""
_OPENAI = "https://api.openai.com/v1"


def with_defaults(table: ModelTable, ids: Iterable[str]) -> ModelTable:
    """`table` restricted to `ids`, with default rows for those it lacks.

    Raises:
        ConfigError: an id is in no table and names no provider.
    """
    return ModelTable(table[model] if model in table else default_spec(model, table) for model in dict.fromkeys(ids))


def default_spec(model: str, known: Iterable[str] = ()) -> ModelSpec:
    """The row for an id such as "zoo/abacus" or "openai/gpt-4o-mini"."""
    provider, slash, name = model.partition("/")
    if not slash:
        raise UnknownNameError(
            "model", model, known, 'Add it to the model table, or write "provider/name" such as "openai/gpt-4o-mini".'
        )
    if not name:
        raise ConfigError(f'model {model!r}: nothing after the slash; write "provider/name"')
    if provider == "zoo":
        return zoo_spec(name)
    if provider == "openai":
        return ModelSpec(id=model, name=name, client="openai", endpoint=_OPENAI, key_env="OPENAI_API_KEY")
    return ModelSpec(id=model, client="litellm")


def zoo_spec(name: str) -> ModelSpec:
    """The row of a zoo model. UnknownNameError lists those that are shipped."""
    from archon import zoo

    found = zoo.model(name)
    price = PriceSpec(prompt=found.usd_per_million_tokens, completion=found.usd_per_million_tokens)
    return ModelSpec(
        id=f"zoo/{name}",
        client="local",
        name=f"zoo:{name}",
        pack="zoo",
        price=price,
        context=found.context,
        max_tokens=_ZOO_ANSWER,
    )
