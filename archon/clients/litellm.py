"""Every other provider, through litellm (extra [litellm]).

litellm is imported when the first such model is built, with its telemetry, its prints and its download of price
tables turned off. It only carries the call: retries, limits, caching and prices are this project's own.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import Field

from archon.clients.assemble import Assembly
from archon.clients.failures import Upstream, classified
from archon.clients.options import Options, check_passed_on, read_key, read_options
from archon.clients.wire import read_completion
from archon.errors import ClientError, ContextOverflowError, MissingExtraError, RetryableError
from archon.models import ModelSpec
from archon.types import Chunk, Completion, Request


class LiteLLMOptions(Options):
    """`options` of a `litellm` model."""

    arguments: dict[str, Any] = Field(default_factory=dict)
    """Further keyword arguments of `litellm.acompletion` (aws_region_name, api_version, …); no secrets here."""


class LiteLLMClient:
    """A transport for one model that litellm knows; the row's `name` is litellm's ("anthropic/claude-…").

    The key is the row's `key_env`; without one, litellm reads its provider's usual variable.

    Raises:
        MissingExtraError: litellm is not installed.
        ConfigError: the key's environment variable is not set.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._options = read_options(spec, LiteLLMOptions)
        check_passed_on(spec, "arguments", self._options.arguments)
        key = read_key(spec)
        self._litellm = _quiet_litellm()
        self._fixed: dict[str, Any] = {
            "num_retries": 0,
            "max_retries": 0,
            "timeout": spec.timeout,
            **self._options.arguments,
            "model": spec.upstream,
        }
        if key is not None:
            self._fixed["api_key"] = key
        if spec.endpoint:
            self._fixed["api_base"] = spec.endpoint
        host = (spec.endpoint or spec.upstream).removeprefix("https://").removeprefix("http://").split("/")[0]
        self._where = Upstream(spec.id, host.rpartition("@")[2], (key,) if key else ())

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> LiteLLMClient:
        """The client of one row of the model table."""
        return cls(spec)

    @property
    def capabilities(self) -> frozenset[str]:
        """Streams, tools, log-probabilities; seeds where the model's row says `send_seed`."""
        return frozenset({"stream", "tools", "logprobs"} | ({"seed"} if self._spec.send_seed else set()))

    async def complete(self, request: Request) -> Completion:
        """See `archon.protocols.Client.complete`."""
        began = time.perf_counter()
        with self._mapped(request):
            answer = await self._litellm.acompletion(**self._arguments(request))
        seconds = time.perf_counter() - began
        return read_completion(answer.model_dump(), self._spec.id, self._spec.known_price, seconds, str(self._where))

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """See `archon.protocols.Client.stream`."""
        began = time.perf_counter()
        assembly = Assembly(str(self._where))
        asked = {**self._arguments(request), "stream": True, "stream_options": {"include_usage": True}}
        with self._mapped(request):
            pieces = await self._litellm.acompletion(**asked)
            try:
                async for piece in pieces:
                    if (chunk := assembly.add(piece.model_dump())) is not None:
                        yield chunk
            finally:
                close = getattr(pieces, "aclose", None)
                if close is not None:
                    await close()
        if assembly.finish_reason is None:
            raise RetryableError(f"{self._where}: the stream broke off before the answer's end")
        seconds = time.perf_counter() - began
        yield Chunk(completion=assembly.completion(self._spec.id, self._spec.known_price, seconds))

    async def aclose(self) -> None:
        """Closes litellm's own clients. Idempotent."""
        close = getattr(self._litellm, "close_litellm_async_clients", None)
        if close is not None:
            await close()

    def _arguments(self, request: Request) -> dict[str, Any]:
        arguments = {**self._fixed, **request.body()}
        if self._spec.send_seed and request.seed is not None:
            arguments["seed"] = request.seed & 0x7FFFFFFF
        return arguments

    @contextmanager
    def _mapped(self, request: Request) -> Iterator[None]:
        """litellm's errors (and those of the SDKs below it) as ours; a cause that tells the key is left off."""
        try:
            yield
        except ClientError:
            raise
        except Exception as error:  # litellm lets errors of some forty SDKs through
            raise self._failure(error, request) from (None if self._where.betrayed(error) else error)

    def _failure(self, error: Exception, request: Request) -> ClientError:
        said = self._where.quoted(getattr(error, "message", None) or error, request.messages)
        name = type(error).__name__
        if isinstance(error, self._litellm.ContextWindowExceededError):
            return ContextOverflowError(f"{self._where}: {said}", status=400, billed=False)
        if isinstance(error, (self._litellm.Timeout, self._litellm.APIConnectionError)):
            return RetryableError(f"{self._where}: {name}: {said}")
        status = getattr(error, "status_code", None)
        if not isinstance(status, int):
            return ClientError(f"{self._where}: {name}: {said}")
        return classified(self._where, status, getattr(error, "code", None), said, _headers(error))


def _headers(error: Exception) -> Mapping[str, str]:
    """The upstream's headers, which litellm keeps in one of two places."""
    found = getattr(error, "litellm_response_headers", None)
    return found or getattr(getattr(error, "response", None), "headers", None) or {}


def _quiet_litellm() -> Any:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # read at import: no download of price tables
    try:
        import litellm
    except ImportError as error:
        raise MissingExtraError("a model with client 'litellm'", "litellm") from error
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.drop_params = False  # a setting that a provider does not know is an error, not silently another model
    return litellm
