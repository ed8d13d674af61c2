"""Refuses API keys that were typed into a model's options: options are saved in winner.yaml and shown in reports.

Told by the name of the field, for a key has no form of its own. The text never repeats the value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from archon.errors import ConfigError

_CARRIERS = frozenset({"headers", "query", "body", "arguments", "extra_headers", "extra_body", "extra_query"})
"""Options whose fields are sent on. Others hold names of variables (header_env) or no field names at all."""

_NAMES = frozenset(
    ["authorization", "proxy_authorization", "cookie", "key", "token", "secret", "password", "credentials"]
)
_ENDINGS = (
    *("api_key", "apikey", "secret_key", "access_key", "subscription_key", "auth_token", "access_token"),
    *("session_token", "_ad_token", "_secret", "_password", "credentials"),
)


def refuse_typed_keys(model: str, options: Mapping[str, Any]) -> None:
    """Raises ConfigError where an option's name says that its value is a key."""
    for path in _fields(options):
        name = path[-1].lower().replace("-", "_")
        if name in _NAMES or name.endswith(_ENDINGS):
            raise ConfigError(
                f"model {model!r}: options.{'.'.join(path)}: no key may stand in a model table, which is saved with "
                "results; put it in an environment variable and name that in the row's `key_env` (a further header: in "
                "options.header_env; a provider of litellm also reads its own variables)"
            )


def _fields(options: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in options.items():
        path = (*above, str(key))
        yield path
        if str(key) in _CARRIERS and isinstance(value, Mapping):
            yield from _fields(value, path)
