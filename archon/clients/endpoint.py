"""Where an OpenAI-compatible endpoint is and what every call to it carries: URL, headers, proxy; built once, checked
once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from multidict import CIMultiDict
from pydantic import Field
from yarl import URL

from archon.clients.options import Options, read_key
from archon.errors import ConfigError
from archon.models import ModelSpec


class OpenAIOptions(Options):
    """`options` of an `openai` model."""

    headers: dict[str, str] = Field(default_factory=dict)
    """Further headers, part of a cached call's name; no secrets here, they would stand in files."""
    header_env: dict[str, str] = Field(default_factory=dict)
    """Further headers whose values are read from the named environment variables."""
    key_header: str | None = None
    """Header that takes the bare key (Azure: "api-key"); None = `Authorization: Bearer`."""
    query: dict[str, str] = Field(default_factory=dict)
    """URL parameters (Azure: api-version)."""
    body: dict[str, Any] = Field(default_factory=dict)
    """Further body fields of every request; a request's own win."""
    max_tokens_field: str = "max_tokens"
    """What the upstream calls the bound on the answer; OpenAI's reasoning models: "max_completion_tokens"."""
    include_usage: bool = True
    """Whether to ask for the usage of a stream; without it, a budget keeps a streamed call's worst case."""
    connections: int = Field(default=0, ge=0)
    """Open connections at most; 0 = any number (the model's `limits.in_flight` bounds calls)."""


def chat_url(spec: ModelSpec, query: Mapping[str, str]) -> URL:
    """The URL of chat completions. Raises ConfigError where the model's endpoint is none, or holds a key."""
    try:
        parts = urlsplit(spec.endpoint or "")
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid:
        found = "none is given" if not spec.endpoint else "it is not an http(s) URL"
        raise ConfigError(f"model {spec.id!r}: endpoint: {found}; give the base URL up to and including /v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"model {spec.id!r}: endpoint: keys and parameters do not belong in the URL; use key_env and options.query"
        )
    return URL(f"{(spec.endpoint or '').rstrip('/')}/chat/completions").with_query(query or None)


def call_headers(spec: ModelSpec, options: OpenAIOptions) -> tuple[CIMultiDict[str], tuple[str, ...]]:
    """The headers of every call, and the secrets among their values. Raises ConfigError where a variable is not set."""
    headers = CIMultiDict({"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "archon"})
    headers.update(options.headers)
    secrets = []
    for name, variable in options.header_env.items():
        headers[name] = read_key(spec.model_copy(update={"key_env": variable})) or ""
        secrets.append(headers[name])
    if (key := read_key(spec)) is not None:
        headers[options.key_header or "Authorization"] = key if options.key_header else f"Bearer {key}"
        secrets.append(key)
    return headers, tuple(secrets)


def environment_proxy(url: URL) -> str | None:
    """The proxy that the environment names for this URL (HTTPS_PROXY, NO_PROXY, …); None = none."""
    if not any(name.lower().endswith("_proxy") for name in os.environ) or proxy_bypass(url.host or ""):
        return None
    return getproxies().get(url.scheme)
