"""A scripted model for tests, demonstrations and dry runs: answers, latency, price and failures, all deterministic.

Everything it does is drawn from the request's name (model, canonical request, sample index, and the attempt's
number), so a run is the same under any concurrency. It counts tokens (four characters make one), obeys `max_tokens`
and streams.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Literal

from pydantic import Field

from archon.clients.options import Options, load_object, read_options
from archon.clients.price import priced
from archon.clients.script import Answer, Answers, prompt_text, scripted
from archon.errors import AuthError, ContextOverflowError, RequestError, RetryableError
from archon.models import ModelSpec
from archon.types import Chunk, Completion, Message, Price, Request, Usage, derived_seed, stable_hash

Failure = Literal["rate_limit", "server_error", "timeout", "hang", "empty", "huge", "refused", "auth"]

_CHARS_PER_TOKEN = 4
_HUGE = 1_000_000


class FakeOptions(Options):
    """`options` of a `fake` model. Everything has a default: a fake model without options answers a short hash."""

    answers: list[str | dict[str, Any]] | dict[str, Any] | str | None = None
    """A list (draw k gets item k mod its length), a mapping (the first key that stands in the prompt's text chooses;
    its value is an answer or a list of answers by draw; the key "" fits every prompt; nothing fits = an empty
    answer), or a dotted path "package.module:function" of a function from `Request` to an answer. An answer is a text
    or a message in wire form."""
    latency: float | tuple[float, float] = 0.0
    """Seconds a call takes, or the range it is drawn from."""
    token_latency: float = Field(default=0.0, ge=0)
    """Further seconds for every token of the answer; in a stream, between its pieces."""
    failures: dict[Failure, float] = Field(default_factory=dict)
    """Probability of each kind of failure, per attempt: rate_limit (429 with `retry_after`), server_error (500),
    timeout, hang (never answers), empty (an empty answer), huge (an answer of 1 MB), refused (400), auth (401)."""
    fail_first: int = Field(default=0, ge=0)
    """So many first attempts of every draw fail, with the first kind in `failures`, or server_error."""
    persistent: bool = False
    """Whether a draw that fails once fails always; otherwise each attempt is drawn anew."""
    retry_after: float = Field(default=0.01, ge=0)
    """Seconds that a rate_limit asks to wait."""
    seeded: bool = False
    """Whether draws obey `Request.seed` (capability "seed"): other seeds, other failures, latencies and default
    answers."""


class FakeClient:
    """A scripted transport.

    Args:
        model: its name in completions and errors.
        answers: as in `FakeOptions.answers`, or the function itself.
        price: None = unknown; say Price(0, 0) for a free model.
        context: longest prompt and answer together, tokens; None = any.
        options: the other settings.

    Attributes:
        calls: attempts begun.
        in_flight, peak: calls under way, now and at most.
    """

    def __init__(
        self,
        model: str = "fake",
        answers: Answers = None,
        *,
        price: Price | None = None,
        context: int | None = None,
        options: FakeOptions | None = None,
    ) -> None:
        self._model = model
        self._price = price
        self._context = context
        self._options = options or FakeOptions()
        self._answer = scripted(answers, f"model {model!r}")
        self._attempts: Counter[str] = Counter()
        self.calls = 0
        self.in_flight = 0
        self.peak = 0

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> FakeClient:
        """The client of one row of the model table."""
        options = read_options(spec, FakeOptions)
        answers: Answers | Callable[[Request], Answer] = (
            load_object(options.answers, f"model {spec.id!r}: answers")
            if isinstance(options.answers, str)
            else options.answers
        )
        return cls(spec.id, answers, price=spec.known_price, context=spec.context, options=options)

    @property
    def capabilities(self) -> frozenset[str]:
        """It streams, calls tools (where the script does) and counts tokens; it obeys seeds where told to."""
        return frozenset({"stream", "tools", "count_tokens"} | ({"seed"} if self._options.seeded else set()))

    def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Tokens of a prompt: a quarter of its characters, and one a message."""
        return _tokens(prompt_text(messages)) + len(messages)

    async def complete(self, request: Request) -> Completion:
        """The scripted answer, or the scripted failure."""
        began = time.perf_counter()
        with _UnderWay(self):
            name = self._name(request)
            kind = self._failure(name)
            message = self._said(request, kind)
            await asyncio.sleep(self._latency(name) + self._options.token_latency * _tokens(message.text))
            await self._fail(kind, request)
            return self._completion(request, message, time.perf_counter() - began)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The same answer in pieces of a few words."""
        began = time.perf_counter()
        with _UnderWay(self):
            name = self._name(request)
            kind = self._failure(name)
            message = self._said(request, kind)
            await asyncio.sleep(self._latency(name))
            await self._fail(kind, request)
            completion = self._completion(request, message, 0.0)
            async for chunk in self._pieces(completion.message):
                yield chunk
            yield Chunk(completion=self._completion(request, message, time.perf_counter() - began))

    async def aclose(self) -> None:
        """Nothing to free."""

    async def _pieces(self, message: Message) -> AsyncIterator[Chunk]:
        size = _CHARS_PER_TOKEN if len(message.text) < 10_000 else len(message.text) // 100
        for start in range(0, len(message.text), size):
            if self._options.token_latency:
                await asyncio.sleep(self._options.token_latency * size / _CHARS_PER_TOKEN)
            yield Chunk(message.text[start : start + size])
        if message.tool_calls:
            yield Chunk(delta={"tool_calls": [{"index": i, **call} for i, call in enumerate(message.tool_calls)]})

    def _name(self, request: Request) -> str:
        seed = request.seed if self._options.seeded else None
        return stable_hash([self._model, request.canonical(), request.sample, seed], 32)

    def _failure(self, name: str) -> Failure | None:
        """The kind of failure this attempt of the named draw meets, if any."""
        failures, first = self._options.failures, self._options.fail_first
        if not failures and not first:
            return None
        self._attempts[name] += 1
        attempt = self._attempts[name]
        if attempt <= first:
            return next(iter(failures), "server_error")
        point = _fraction(name, "failure", 0 if self._options.persistent else attempt)
        for kind, rate in failures.items():
            point -= rate
            if point < 0 and not first:
                return kind
        return None

    def _said(self, request: Request, kind: Failure | None) -> Message:
        if kind == "empty":
            return Message("assistant", "")
        return Message("assistant", "x" * _HUGE) if kind == "huge" else self._answer(request)

    async def _fail(self, kind: Failure | None, request: Request) -> None:
        who = f"model {self._model!r}"
        self._check_context(request, who)
        if kind == "hang":
            await asyncio.Event().wait()
        errors: Mapping[str, Callable[[], Exception]] = {
            "rate_limit": lambda: RetryableError(
                f"{who}: 429 too many requests", status=429, retry_after=self._options.retry_after, billed=False
            ),
            "server_error": lambda: RetryableError(f"{who}: 500 server error", status=500, billed=False),
            "timeout": lambda: RetryableError(f"{who}: timed out"),
            "refused": lambda: RequestError(f"{who}: 400 refused", status=400, billed=False),
            "auth": lambda: AuthError(f"{who}: 401 the key is refused", status=401, billed=False),
        }
        if kind is not None and kind in errors:
            raise errors[kind]()

    def _check_context(self, request: Request, who: str) -> None:
        needed = self.count_tokens(request.messages) + (request.sampling.max_tokens or 0)
        if self._context is not None and needed > self._context:
            text = f"{who}: prompt and answer need {needed} tokens, its context holds {self._context}"
            raise ContextOverflowError(text, status=400, billed=False)

    def _latency(self, name: str) -> float:
        latency = self._options.latency
        if isinstance(latency, tuple):
            return latency[0] + (latency[1] - latency[0]) * _fraction(name, "latency", 0)
        return latency

    def _completion(self, request: Request, message: Message, seconds: float) -> Completion:
        text, most = message.text, request.sampling.max_tokens
        cut = most is not None and _tokens(text) > most and len(text) < _HUGE
        if cut and most is not None:
            message = Message(message.role, text[: most * _CHARS_PER_TOKEN], tool_calls=message.tool_calls)
        answer_tokens = min(_tokens(text), most or _HUGE)
        usage = priced(Usage(1, self.count_tokens(request.messages), answer_tokens, seconds=seconds), self._price)
        reason = "length" if cut else "tool_calls" if message.tool_calls else "stop"
        return Completion(message, self._model, usage, reason, id=f"fake-{self._name(request)[:12]}")


class _UnderWay:
    """Counts a call while it is under way."""

    __slots__ = ("_client",)

    def __init__(self, client: FakeClient) -> None:
        self._client = client

    def __enter__(self) -> None:
        self._client.calls += 1
        self._client.in_flight += 1
        self._client.peak = max(self._client.peak, self._client.in_flight)

    def __exit__(self, *_: object) -> None:
        self._client.in_flight -= 1


def _tokens(text: str) -> int:
    return -(-len(text) // _CHARS_PER_TOKEN)


def _fraction(name: str, what: str, number: int) -> float:
    """A number in [0, 1) that depends on the arguments alone."""
    return derived_seed(name, what, number) / 2**63
