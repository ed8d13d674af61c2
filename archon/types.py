"""The values that travel through the engine: frozen, with no behaviour beyond derivation.

A `Message` is an OpenAI chat message kept whole. A `Request` is what a client is asked, a `Completion` what it answers,
a `Candidate` one answer and all that is known about it, a `State` what a layer receives and returns.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

# --- constrained aliases for layer parameters; the registry validates them when a node is built --------------------
ModelId = Annotated[str, Field(min_length=1, json_schema_extra={"archon": "model"})]
"""The id of a model in the model table."""
PositiveInt = Annotated[int, Field(ge=1, strict=True)]
# Adding 0.0 makes 0.0 of −0.0: equal settings have one spelling, so one hash and one name in the cache.
Temperature = Annotated[float, Field(ge=0.0, le=2.0), AfterValidator(lambda value: value + 0.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0), AfterValidator(lambda value: value + 0.0)]

ContentPart = Mapping[str, Any]
"""One part of a message's content: {"type": "text", "text": …}, {"type": "image_url", …}, …"""

_NO_EXTRA: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Message:
    """One OpenAI chat message. Keys this class does not know are kept in `extra` and sent on."""

    role: str
    content: str | tuple[ContentPart, ...] | None = None
    name: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    tool_call_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Message:
        """Reads the wire form. Raises KeyError when `role` is missing."""
        content = raw.get("content")
        known = {"role", "content", "name", "tool_calls", "tool_call_id"}
        return cls(
            role=raw["role"],
            content=tuple(content) if isinstance(content, list) else content,
            name=raw.get("name"),
            tool_calls=tuple(raw.get("tool_calls") or ()),
            tool_call_id=raw.get("tool_call_id"),
            extra={key: value for key, value in raw.items() if key not in known},
        )

    def to_dict(self) -> dict[str, Any]:
        """The wire form; `content` is always present (null for a pure tool call), other keys only where set."""
        content = list(self.content) if isinstance(self.content, tuple) else self.content
        wire: dict[str, Any] = {"role": self.role, "content": content}
        if self.name is not None:
            wire["name"] = self.name
        if self.tool_calls:
            wire["tool_calls"] = list(self.tool_calls)
        if self.tool_call_id is not None:
            wire["tool_call_id"] = self.tool_call_id
        return {**wire, **self.extra}

    @property
    def text(self) -> str:
        """The text of the message: its string content, or its text parts joined by newlines."""
        if self.content is None:
            return ""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(str(part.get("text", "")) for part in self.content if part.get("type") == "text")


def user(text: str) -> Message:
    """A user message."""
    return Message("user", text)


def system(text: str) -> Message:
    """A system message."""
    return Message("system", text)


def assistant(text: str) -> Message:
    """An assistant message."""
    return Message("assistant", text)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. None (or empty) = not set, so not sent; the model's own default holds."""

    temperature: float | None = None
    """0 = greedy; usual range 0..2."""
    top_p: float | None = None
    """Nucleus mass, in (0, 1]."""
    top_k: int | None = None
    """Number of most likely tokens to draw from, ≥ 1. Not part of OpenAI's own API; vLLM and local models have it."""
    max_tokens: int | None = None
    """Upper bound on generated tokens, ≥ 1."""
    stop: tuple[str, ...] = ()
    seed: int | None = None
    """The caller's own seed. Draws get theirs from `Request.seed`, derived from it."""
    logprobs: bool | None = None
    top_logprobs: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further body fields, passed on as they are."""

    def over(self, base: Sampling) -> Sampling:
        """These settings, with what is unset here taken from `base`."""
        pairs = zip(_SAMPLING(self), _SAMPLING(base), strict=True)
        return Sampling(*(other if own is None or own == () or own == {} else own for own, other in pairs))

    def to_dict(self) -> dict[str, Any]:
        """What was set, in the wire form, without `seed` (a draw's seed belongs to the request)."""
        wire: dict[str, Any] = {}
        for name, value in zip(Sampling.__slots__, _SAMPLING(self), strict=True):
            if name in ("seed", "extra") or value is None or value == ():
                continue
            wire[name] = list(value) if isinstance(value, tuple) else value
        return {**wire, **self.extra}


_SAMPLING = attrgetter(*(spec.name for spec in fields(Sampling)))


@dataclass(frozen=True, slots=True)
class Request:
    """One draw from one model.

    A draw is named by (model, canonical request, sample index): `canonical()` is the middle part, `sample` the last.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: Any = None
    response_format: Mapping[str, Any] | None = None
    sample: int = 0
    """0 for the first draw of this request, 1 for the second, …"""
    seed: int | None = None
    """Seed of this draw, 0 ≤ seed < 2**63, derived from the run's seed and the draw's name; used by models that can."""

    def body(self) -> dict[str, Any]:
        """The fields of the wire form that say what is asked (no model, no sample, no seed)."""
        wire: dict[str, Any] = {"messages": [message.to_dict() for message in self.messages]}
        wire.update(self.sampling.to_dict())
        if self.tools:
            wire["tools"] = list(self.tools)
        if self.tool_choice is not None:
            wire["tool_choice"] = self.tool_choice
        if self.response_format is not None:
            wire["response_format"] = self.response_format
        return wire

    def drawn(self, sample: int, seed: int | None) -> Request:
        """This request as one of its draws."""
        return Request(self.messages, self.sampling, self.tools, self.tool_choice, self.response_format, sample, seed)

    def canonical(self) -> str:
        """Canonical JSON of what is asked: equal requests have equal text, whatever the sample index."""
        return canonical_json(self.body())


@dataclass(frozen=True, slots=True)
class Usage:
    """What calls consumed. Adding two usages adds every field; an unknown cost makes the sum's cost unknown."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens the provider served from its own prefix cache."""
    cost_usd: float | None = 0.0
    """US dollars; None = the price is unknown. Zero only for no calls or a model that is free."""
    seconds: float = 0.0
    """Latency of the call as recorded when it was really made; in a sum, the sum of the latencies."""
    drafted_tokens: int = 0
    """Tokens that a draft model proposed (speculative decoding); 0 for models that are not accelerated."""
    accepted_tokens: int = 0
    """Of the drafted ones, those that stand in the answer or stood before its end was found."""
    verified_tokens: int = 0
    """Tokens the model itself ran over to judge drafts: the drafted ones and one more a step."""

    def __add__(self, other: Usage) -> Usage:
        known = self.cost_usd is not None and other.cost_usd is not None
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            (self.cost_usd or 0.0) + (other.cost_usd or 0.0) if known else None,
            self.seconds + other.seconds,
            self.drafted_tokens + other.drafted_tokens,
            self.accepted_tokens + other.accepted_tokens,
            self.verified_tokens + other.verified_tokens,
        )

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    def to_dict(self) -> dict[str, Any]:
        """Plain data, every field."""
        return {name: getattr(self, name) for name in self.__slots__}

    @staticmethod
    def total(parts: Iterable[Usage]) -> Usage:
        """The sum of `parts`, exact to the last bit in any order (fsum), so that books do not depend on arrival."""
        rows = list(parts)
        if not rows:
            return Usage()
        columns = dict(zip(Usage.__slots__, zip(*map(_USAGE, rows), strict=True), strict=True))
        costs, seconds = columns.pop("cost_usd"), columns.pop("seconds")
        cost = None if None in costs else math.fsum(costs)
        return Usage(cost_usd=cost, seconds=math.fsum(seconds), **{name: sum(each) for name, each in columns.items()})


_USAGE = attrgetter(*(spec.name for spec in fields(Usage)))


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One generated token and its natural-log probability under the sampling model."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()
    """The most likely tokens at this position, best first, where asked for."""


FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's answer to one request.

    `cached` tells that it was not paid for now; `usage` is its list usage either way.
    """

    message: Message
    model: str
    usage: Usage
    finish_reason: str = "stop"
    logprobs: tuple[TokenLogprob, ...] | None = None
    cached: bool = False
    id: str = ""

    @property
    def text(self) -> str:
        """The answer's text."""
        return self.message.text


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a streamed answer. The last chunk carries `completion`, the whole answer with its usage."""

    text: str = ""
    delta: Mapping[str, Any] = field(default_factory=dict)
    """The raw delta where there is more than text (tool calls)."""
    completion: Completion | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    """Of the tokens of this piece, where asked for and given."""


@dataclass(frozen=True, slots=True)
class UnitTest:
    """A check an answer should pass: a sentence a model judges, or (`code`) a Python assertion a sandbox runs."""

    text: str
    code: bool = False


@dataclass(frozen=True, slots=True)
class TestResult:
    """Whether one candidate passed one test; None = could not be judged, which is not a failure."""

    test: UnitTest
    passed: bool | None

    __test__ = False  # its name would make pytest collect it


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer and everything known about it. A critique lives on the candidate it is about."""

    id: str
    """Unique in the run."""
    message: Message
    model: str
    """Model that wrote it."""
    node: str
    """Node that produced it."""
    critique: str | None = None
    score: float | None = None
    """Higher is better; meaning depends on the layer that set it."""
    verdict: bool | None = None
    """True/False where a verifier judged it; None = not judged or not decided."""
    reasoning: str | None = None
    """The verifier's reasoning."""
    tests: tuple[TestResult, ...] = ()
    logprob: float | None = None
    """Sum of token log-probabilities, nats, where the model gave them."""
    parents: tuple[str, ...] = ()
    """Ids of the candidates it was made from."""
    finish_reason: str = "stop"
    token_logprobs: tuple[TokenLogprob, ...] | None = None
    """Token by token, where the model gave them."""

    @property
    def text(self) -> str:
        """The answer's text."""
        return self.message.text

    def united(self, other: Candidate) -> Candidate:
        """This candidate with the annotations that only `other` has (two paths of one candidate)."""
        changes: dict[str, Any] = {}
        for name in ("critique", "score", "verdict", "reasoning", "logprob"):
            if getattr(self, name) is None and getattr(other, name) is not None:
                changes[name] = getattr(other, name)
        if other.tests and other.tests != self.tests:
            changes["tests"] = tuple(dict.fromkeys(self.tests + other.tests))
        return replace(self, **changes) if changes else self


@dataclass(frozen=True, slots=True)
class State:
    """What a layer receives and returns: the conversation, the candidates, the unit tests."""

    conversation: tuple[Message, ...]
    candidates: tuple[Candidate, ...] = ()
    tests: tuple[UnitTest, ...] = ()

    def with_candidates(self, candidates: Iterable[Candidate]) -> State:
        """The same state with other candidates."""
        return replace(self, candidates=tuple(candidates))

    @staticmethod
    def merged(states: Sequence[State]) -> State:
        """Joins branches: candidates united by id, in input order; tests without repeats."""
        by_id: dict[str, Candidate] = {}
        for state in states:
            for candidate in state.candidates:
                known = by_id.get(candidate.id)
                by_id[candidate.id] = known.united(candidate) if known else candidate
        tests = dict.fromkeys(test for state in states for test in state.tests)
        return State(states[0].conversation, tuple(by_id.values()), tuple(tests))


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    prompt: float
    completion: float

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """US dollars for so many tokens."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


@dataclass(frozen=True, slots=True)
class Question:
    """One item of a benchmark."""

    id: str
    messages: tuple[Message, ...]
    reference: str | None = None
    """The expected answer; None where the scorer needs none."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Facts for scoring (hidden tests, …); never shown to a model."""

    @property
    def text(self) -> str:
        """The last user message's text."""
        return self.messages[-1].text


@dataclass(frozen=True, slots=True)
class Score:
    """A judgement of one answer. `value` None = could not be scored, which is not 0 and stays out of the mean."""

    value: float | None
    """0..1, higher is better."""
    extracted: str | None = None
    """What the scorer took for the answer."""
    explanation: str = ""


Split = Literal["search", "selection", "held_out"]


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values have equal text."""
    return _CANONICAL.encode(value)


def stable_hash(value: Any, length: int = 16) -> str:
    """The first `length` hex digits of SHA-256 over the canonical JSON of `value`; the same in every process."""
    return hashlib.sha256(canonical_json(value).encode(errors="surrogatepass")).hexdigest()[:length]


def derived_seed(*parts: str | int | None) -> int:
    """A seed in [0, 2**63) that depends on `parts` alone (SHA-256 of their canonical JSON)."""
    return int(stable_hash(list(parts), 16), 16) >> 1
