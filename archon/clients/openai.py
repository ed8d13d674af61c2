"""Any endpoint that speaks OpenAI's chat completions: OpenAI, vLLM, llama.cpp, Ollama, Together, OpenRouter, …

A thin client of its own over one aiohttp connection pool: no SDK, no validation of what is sent through, headers and
URL built once. `bench/openai_client.py` measures its CPU time per call.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from archon.clients.assemble import Assembly
from archon.clients.endpoint import OpenAIOptions, call_headers, chat_url, environment_proxy
from archon.clients.failures import Upstream, from_event, from_status
from archon.clients.options import check_passed_on, read_options
from archon.clients.sse import EventParser
from archon.clients.wire import read_completion
from archon.errors import ClientError, RetryableError
from archon.models import ModelSpec
from archon.types import Chunk, Completion, Request

_ENCODER = json.JSONEncoder(separators=(",", ":"), default=dict)
_LARGEST_BODY = 64 * 2**20
"""Bytes of an answer that are read at most: what is longer is no answer, and must not fill the memory."""


class OpenAIClient:
    """A transport for one model of one endpoint.

    Args:
        spec: its row in the model table; `endpoint` must be given.

    Raises:
        ConfigError: no endpoint or not a URL, or the key's environment variable is not set.
    """

    # Values of `header_env` are secrets and name no call; `headers` may change the answer (beta features), so they do.
    neutral_options = frozenset({"header_env", "key_header", "include_usage", "connections"})

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._options = read_options(spec, OpenAIOptions)
        check_passed_on(spec, "body", self._options.body)
        self._price = spec.known_price
        self._url = chat_url(spec, self._options.query)
        self._headers, secrets = call_headers(spec, self._options)
        self._where = Upstream(spec.id, self._url.host or "", secrets)
        self._proxy = environment_proxy(self._url)
        self._capabilities = frozenset({"stream", "tools", "logprobs"} | ({"seed"} if spec.send_seed else set()))
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> OpenAIClient:
        """The client of one row of the model table."""
        return cls(spec)

    @property
    def capabilities(self) -> frozenset[str]:
        """Streams, tools, log-probabilities; seeds where the model's row says `send_seed`."""
        return self._capabilities

    async def complete(self, request: Request) -> Completion:
        """See `archon.protocols.Client.complete`."""
        began = time.perf_counter()
        async with self.forward(self._encoded(self._body(request))) as response:
            await self._check(response, request)
            raw = self._json(await self.read(response), request)
        return read_completion(raw, self._spec.id, self._price, time.perf_counter() - began, str(self._where))

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """See `archon.protocols.Client.stream`."""
        began = time.perf_counter()
        assembly = Assembly(str(self._where))
        body = {**self._body(request), "stream": True}
        if self._options.include_usage:
            body["stream_options"] = {"include_usage": True}
        async with self.forward(self._encoded(body)) as response:
            await self._check(response, request)
            async for event in self._events(response, request):
                if (chunk := assembly.add(event)) is not None:
                    yield chunk
        if assembly.finish_reason is None:
            raise RetryableError(f"{self._where}: the stream broke off before the answer's end")
        yield Chunk(completion=assembly.completion(self._spec.id, self._price, time.perf_counter() - began))

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

    @property
    def options(self) -> OpenAIOptions:
        """The model's options."""
        return self._options

    @property
    def spec(self) -> ModelSpec:
        """The model's row."""
        return self._spec

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the endpoint."""
        return self._url.host or "", self._url.port or 443

    def failure(self, status: int, headers: Mapping[str, str], said: bytes) -> ClientError:
        """What an answer that is not 200 means; its text holds no secret."""
        return from_status(self._where, status, headers, said)

    def checked(self, data: bytes) -> dict[str, Any]:
        """An answer's JSON object. Raises ClientError where it is none, or holds an error in place of an answer."""
        return self._json(data, Request(()))

    def broken(self, what: str) -> RetryableError:
        """The error for an answer that is not what it should be."""
        return RetryableError(f"{self._where}: {what}")

    @staticmethod
    def _encoded(body: Mapping[str, Any]) -> bytes:
        return _ENCODER.encode(body).encode()

    async def _check(self, response: aiohttp.ClientResponse, request: Request) -> None:
        """Raises what an answer means whose status is not 200."""
        if response.status != 200:
            said = await response.content.read(65536)
            raise from_status(self._where, response.status, response.headers, said, request.messages)

    @asynccontextmanager
    async def forward(self, data: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
        """The upstream's own response to a body that is sent as it is, whatever its status.

        Raises:
            ClientError: the upstream could not be reached, or the connection broke.
        """
        try:
            session = await self._pool()
            async with session.post(
                self._url, data=data, headers=self._headers, proxy=self._proxy, allow_redirects=False
            ) as response:
                yield response
        except aiohttp.ClientConnectorCertificateError as error:
            raise ClientError(f"{self._where}: its TLS certificate is not trusted", billed=False) from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            reason = getattr(getattr(error, "os_error", None), "strerror", None) or type(error).__name__
            raise RetryableError(f"{self._where}: cannot connect ({reason})", billed=False) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise RetryableError(f"{self._where}: the connection broke ({type(error).__name__})") from error

    async def read(self, response: aiohttp.ClientResponse) -> bytes:
        """The whole body. Raises ClientError where it is larger than any answer."""
        if (response.content_length or _LARGEST_BODY + 1) <= _LARGEST_BODY:
            return await response.read()
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
