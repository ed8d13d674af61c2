"""Any endpoint that speaks OpenAI's chat completions: OpenAI, vLLM, llama.cpp, Ollama, Together, OpenRouter, …

A thin client of its own over one aiohttp connection pool: no SDK, no validation of what is sent through, headers and
URL built once. `bench/openai_client.py` measures its CPU time per call.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from multidict import CIMultiDict
from pydantic import Field
from yarl import URL

from archon.clients.assemble import Assembly, token_logprobs
from archon.clients.failures import Upstream, from_event, from_status
from archon.clients.options import Options, read_key, read_options
from archon.clients.price import priced
from archon.clients.sse import EventParser
from archon.errors import ClientError, ConfigError, RetryableError
from archon.models import ModelSpec
from archon.types import Chunk, Completion, Message, Price, Request, Usage

_LARGEST_BODY = 64 * 2**20
"""Bytes of an answer that are read at most: what is longer is no answer, and must not fill the memory."""


class OpenAIOptions(Options):
    """`options` of an `openai` model."""

    headers: dict[str, str] = Field(default_factory=dict)
    """Further headers; no secrets here, they would stand in files."""
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


class OpenAIClient:
    """A transport for one model of one endpoint.

    Args:
        spec: its row in the model table; `endpoint` must be given.

    Raises:
        ConfigError: no endpoint or not a URL, or the key's environment variable is not set.
    """

    neutral_options = frozenset({"headers", "header_env", "key_header", "include_usage", "connections"})

    def __init__(self, spec: ModelSpec) -> None:
        options = read_options(spec, OpenAIOptions)
        key = read_key(spec)
        self._spec = spec
        self._options = options
        self._price: Price | None = spec.known_price
        self._url = _url(spec, options.query)
        self._headers = _headers(spec, options, key)
        secrets = [self._headers[name] for name in options.header_env] + ([key] if key else [])
        self._where = Upstream(spec.id, self._url.host or "", tuple(secrets))
        self._proxy = _proxy(self._url)
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> OpenAIClient:
        """The client of one row of the model table."""
        return cls(spec)

    @property
    def capabilities(self) -> frozenset[str]:
        """Streams, tools, log-probabilities; seeds where the model's row says `send_seed`."""
        return frozenset({"stream", "tools", "logprobs"} | ({"seed"} if self._spec.send_seed else set()))

    async def complete(self, request: Request) -> Completion:
        """See `archon.protocols.Client.complete`."""
        began = time.perf_counter()
        async with self._post(request, self._body(request)) as response:
            raw = self._json(await self._read(response), request)
        return self._completion(raw, request, time.perf_counter() - began)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """See `archon.protocols.Client.stream`."""
        began = time.perf_counter()
        assembly = Assembly()
        body = {**self._body(request), "stream": True}
        if self._options.include_usage:
            body["stream_options"] = {"include_usage": True}
        async with self._post(request, body) as response:
            async for event in self._events(response, request):
                if (chunk := assembly.add(event)) is not None:
                    yield chunk
        if assembly.finish_reason is None:
            raise RetryableError(f"{self._where}: the stream broke off before the answer's end")
        usage = self._usage(assembly.usage, time.perf_counter() - began)
        yield Chunk(
            completion=Completion(
                assembly.message(),
                self._spec.id,
                usage,
                assembly.finish_reason,
                assembly.logprobs(),
                id=assembly.id,
            )
        )

    async def aclose(self) -> None:
        """Closes the connections. Idempotent; a later call opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _body(self, request: Request) -> dict[str, Any]:
        body = {**self._options.body, "model": self._spec.upstream, **request.body()}
        if self._options.max_tokens_field != "max_tokens" and "max_tokens" in body:
            body[self._options.max_tokens_field] = body.pop("max_tokens")
        if self._spec.send_seed and request.seed is not None:
            body["seed"] = request.seed & 0x7FFFFFFF  # not every upstream takes 63 bits
        return body

    @asynccontextmanager
    async def _post(self, request: Request, body: Mapping[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response to a POST whose status is 200; everything else is an error of ours."""
        data = json.dumps(body, separators=(",", ":"), default=dict).encode()
        try:
            session = await self._pool()
            async with session.post(
                self._url, data=data, headers=self._headers, proxy=self._proxy, allow_redirects=False
            ) as response:
                if response.status != 200:
                    said = await response.content.read(65536)
                    raise from_status(self._where, response.status, response.headers, said, request.messages)
                yield response
        except aiohttp.ClientConnectorError as error:
            reason = error.os_error.strerror or type(error).__name__
            raise RetryableError(f"{self._where}: cannot connect ({reason})", billed=False) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise RetryableError(f"{self._where}: the connection broke ({type(error).__name__})") from error

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        pieces, size = [], 0
        async for piece in response.content.iter_any():
            pieces.append(piece)
            size += len(piece)
            if size > _LARGEST_BODY:
                raise ClientError(f"{self._where}: the answer is larger than {_LARGEST_BODY >> 20} MiB")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _events(self, response: aiohttp.ClientResponse, request: Request) -> AsyncIterator[dict[str, Any]]:
        parser, size = EventParser(), 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > _LARGEST_BODY:
                raise ClientError(f"{self._where}: the stream is larger than {_LARGEST_BODY >> 20} MiB")
            for data in parser.feed(piece):
                if data == "[DONE]":
                    return
                yield self._json(data, request)
        for data in parser.end():
            if data != "[DONE]":
                yield self._json(data, request)

    def _json(self, text: bytes | str, request: Request) -> dict[str, Any]:
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise RetryableError(f"{self._where}: what came is not JSON ({len(text)} bytes)") from error
        if not isinstance(raw, dict):
            raise ClientError(f"{self._where}: what came is not a chat completion")
        if raw.get("error"):
            raise from_event(self._where, raw["error"], request.messages)
        return raw

    def _completion(self, raw: Mapping[str, Any], request: Request, seconds: float) -> Completion:
        try:
            choice = raw["choices"][0]
            message = choice["message"]
            said = {key: value for key, value in message.items() if value or key == "content"}
            return Completion(
                Message.from_dict({"role": "assistant", **said}),
                self._spec.id,
                self._usage(raw.get("usage"), seconds),
                choice.get("finish_reason") or "stop",
                token_logprobs(choice.get("logprobs")),
                id=str(raw.get("id") or ""),
            )
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ClientError(f"{self._where}: what came is not a chat completion ({type(error).__name__})") from error

    def _usage(self, raw: Mapping[str, Any] | None, seconds: float) -> Usage:
        """The reported usage with its cost; no report = no tokens and an unknown cost."""
        raw = raw or {}
        details = raw.get("prompt_tokens_details") or {}
        usage = Usage(
            1,
            int(raw.get("prompt_tokens") or 0),
            int(raw.get("completion_tokens") or 0),
            int(details.get("cached_tokens") or 0),
            seconds=seconds,
        )
        return priced(usage, self._price)

    async def _pool(self) -> aiohttp.ClientSession:
        """The connection pool; it belongs to an event loop, so another loop gets another one."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            await self.aclose()
            self._loop = loop
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._options.connections, keepalive_timeout=60, ttl_dns_cache=60),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
                skip_auto_headers=("Accept-Encoding",),
                read_bufsize=2**18,
            )
        return self._session


def _url(spec: ModelSpec, query: Mapping[str, str]) -> URL:
    parts = urlsplit(spec.endpoint or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        found = "none is given" if not spec.endpoint else "it is not an http(s) URL"
        raise ConfigError(f"model {spec.id!r}: endpoint: {found}; give the base URL up to and including /v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"model {spec.id!r}: endpoint: keys and parameters do not belong in the URL; use key_env and options.query"
        )
    return URL(f"{(spec.endpoint or '').rstrip('/')}/chat/completions").with_query(query or None)


def _headers(spec: ModelSpec, options: OpenAIOptions, key: str | None) -> CIMultiDict[str]:
    headers = CIMultiDict({"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "archon"})
    headers.update(options.headers)
    for name, variable in options.header_env.items():
        headers[name] = read_key(spec.model_copy(update={"key_env": variable})) or ""
    if key is not None:
        headers[options.key_header or "Authorization"] = key if options.key_header else f"Bearer {key}"
    return headers


def _proxy(url: URL) -> str | None:
    """The proxy that the environment names for this URL (HTTPS_PROXY, NO_PROXY, …); None = none."""
    if not any(name.lower().endswith("_proxy") for name in os.environ) or proxy_bypass(url.host or ""):
        return None
    return getproxies().get(url.scheme)
