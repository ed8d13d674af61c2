"""Models that run here: the zoo's, and any Hugging Face causal-LM folder, with continuous batching.

Concurrent calls join one forward with a cache of keys and values. Draws of one prompt share its forward. **What a
call draws does not depend on the calls beside it**: the random number of token t is a function of (request.seed, t),
and a row's logits are the same, bit for bit, alone and in any company. Measured by `bench/local_client.py`: no answer
of 3,500 (112,729 tokens, float32) differed between one at a time and mixed batches of 64. It is checked when a model is
loaded; where the machine's BLAS does not keep to it, float64 is used, in which rows differ by about 1e-15.

Other machines round otherwise: the same draws on another kind of CPU need `dtype: float64`, 1.4 to 2.5 times slower.

Where a model's row names a draft model (the zoo does for its own), answers are written by speculative decoding
(`local_speculation`): sooner, and token for token the same.

Models of other architectures than plain Llama run through transformers' own forward, row by row: correct, slower.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from archon.clients.local_draft import acceleration, policy_named
from archon.clients.local_engine import Engine
from archon.clients.local_jobs import Answer, Job, Token
from archon.clients.local_loading import LocalOptions, context_of, find_folder, fingerprint, is_zoo, loader
from archon.clients.local_sampling import Draw
from archon.clients.local_text import Codec, load_codec
from archon.clients.local_weights import end_tokens, read_config
from archon.clients.options import read_options
from archon.clients.price import priced
from archon.errors import ConfigError, ContextOverflowError, RequestError
from archon.models import ModelSpec
from archon.types import Chunk, Completion, Message, Request, Sampling, TokenLogprob, Usage, assistant, derived_seed


class LocalClient:
    """A model that runs in this process.

    Args:
        spec: its row; `name` is zoo:NAME or a folder, `options` are `LocalOptions`, `context` may shorten the model's.

    `Usage.seconds` is the time from admission to a slot to the last token; waiting for a slot is not counted. The time
    is that of a shared forward, so it grows with the calls under way. `Usage.cached_tokens` stays 0: a shared prompt is
    billed in full to every draw, so that a call costs the same in any company. `score` tokenises the continuation by
    itself, and it neither scores nor expects an end token.
    """

    neutral_options = frozenset({"draft", "head", "speculation"})
    """With or without drafts an answer is the same."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._options = read_options(spec, LocalOptions)
        self._folder = find_folder(spec)
        self._config = read_config(self._folder)
        self._context = context_of(self._config, spec)
        self._acceleration = acceleration(spec, self._options)
        self._prompts: tuple[Sequence[Message], tuple[int, ...]] | None = None
        self._reading = asyncio.Lock()

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> LocalClient:
        """The client of one row of the model table. Raises ConfigError; weights are read at the first call."""
        return cls(spec)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, tokenizer and context: the cache's answers are theirs, not the name's."""
        try:
            return fingerprint(self._folder, self._context)
        except OSError as error:
            raise ConfigError(f"model folder {str(self._folder)!r}: cannot be read ({error.strerror})") from None

    @property
    def capabilities(self) -> frozenset[str]:
        """Everything but tools."""
        return frozenset({"seed", "stream", "logprobs", "score", "count_tokens"})

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt that these messages become."""
        return len(self._prompt(messages))

    async def complete(self, request: Request) -> Completion:
        """One answer.

        Raises:
            ContextOverflowError: the prompt leaves no room for an answer.
            RequestError: the request asks for what a local model cannot do, or its logits are not finite.
        """
        await self._ready()
        prompt = self._prompt(request.messages)
        answer = await self._finished(self._job(request, prompt))
        return self._completion(request, prompt, answer)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The answer as it is written; the pieces joined are the text of `complete`."""
        await self._ready()
        pieces: asyncio.Queue[str | Answer | BaseException] = asyncio.Queue()
        prompt = self._prompt(request.messages)
        job = self._job(request, prompt)
        job.piece, job.done = pieces.put_nowait, pieces.put_nowait
        self._engine.submit(job)
        try:
            while isinstance(item := await pieces.get(), str):
                yield Chunk(item)
        finally:
            job.cancelled = True
        if isinstance(item, BaseException):
            raise item
        yield Chunk(completion=self._completion(request, prompt, item))

    async def score(self, messages: Sequence[Message], continuation: str) -> tuple[TokenLogprob, ...]:
        """The log probability (nats) of each token of `continuation` as the answer to `messages`."""
        await self._ready()
        prompt, scored = self._prompt(messages), tuple(self._codec.plain(continuation))
        if not scored:
            return ()
        self._check_room(prompt, len(scored))
        job = replace(self._job(Request(tuple(messages)), prompt), scored=scored)
        return self._logprobs((await self._finished(job)).tokens)

    async def aclose(self) -> None:
        """Ends the engine's thread. Idempotent."""
        if "_engine" in self.__dict__:
            await asyncio.to_thread(self._engine.close)

    @cached_property
    def _codec(self) -> Codec:
        return load_codec(self._folder, self._options.encoding, zoo=is_zoo(self._spec))

    @cached_property
    def _engine(self) -> Engine:
        ends = end_tokens(self._folder, self._config)
        return Engine(
            loader(self._folder, self._config, self._options, self._acceleration, ends),
            slots=self._options.slots,
            ends=ends,
            text=self._codec.text,
        )

    async def _ready(self) -> None:
        """Reads the tokenizer once and beside the event loop: with its imports it may take seconds."""
        if "_codec" in self.__dict__:
            return
        async with self._reading:
            await asyncio.to_thread(getattr, self, "_codec")

    def _prompt(self, messages: Sequence[Message]) -> tuple[int, ...]:
        # The draws of one request come one after another.
        if self._prompts is None or self._prompts[0] != messages:
            self._prompts = messages, tuple(self._codec.prompt(messages))
        return self._prompts[1]

    def _job(self, request: Request, prompt: tuple[int, ...]) -> Job:
        sampling = self._spec.sampling(request.sampling)
        _check_supported(self._spec.id, request, sampling)
        _check_ranges(self._spec.id, sampling)
        self._check_room(prompt, 1)
        return Job(
            prompt=prompt,
            draw=_draw(request, sampling),
            limit=min(sampling.max_tokens or self._context, self._context - len(prompt)),
            loop=asyncio.get_running_loop(),
            done=_ignored,
            stops=sampling.stop,
            logprobs=bool(sampling.logprobs),
            top_logprobs=sampling.top_logprobs or 0,
            speculation=_speculates(self._spec.id, sampling),
        )

    def _check_room(self, prompt: Sequence[int], answer: int) -> None:
        if len(prompt) + answer > self._context:
            raise ContextOverflowError(
                f"model {self._spec.id!r}: a prompt of {len(prompt)} tokens and an answer of {answer} do not fit its "
                f"context of {self._context} tokens; shorten the prompt or take a model with a longer context",
                billed=False,
            )

    async def _finished(self, job: Job) -> Answer:
        waiting: asyncio.Future[Answer] = job.loop.create_future()
        job.done = _settles(waiting)
        self._engine.submit(job)
        try:
            return await waiting
        finally:
            job.cancelled = True

    def _completion(self, request: Request, prompt: Sequence[int], answer: Answer) -> Completion:
        usage = Usage(
            calls=1,
            prompt_tokens=len(prompt),
            completion_tokens=answer.generated,
            seconds=answer.seconds,
            drafted_tokens=answer.drafting.drafted,
            accepted_tokens=answer.drafting.accepted,
            verified_tokens=answer.drafting.verified,
        )
        return Completion(
            message=assistant(answer.text),
            model=self._spec.id,
            usage=priced(usage, self._spec.known_price),
            finish_reason=answer.finish_reason,
            logprobs=self._logprobs(answer.tokens) if self._spec.sampling(request.sampling).logprobs else None,
        )

    def _logprobs(self, tokens: Sequence[Token]) -> tuple[TokenLogprob, ...]:
        return tuple(
            TokenLogprob(
                self._codec.text([token.id]),
                token.logprob or 0.0,
                tuple((self._codec.text([other]), logprob) for other, logprob in token.top),
            )
            for token in tokens
        )


def _draw(request: Request, sampling: Sampling) -> Draw:
    """How the request's tokens are drawn; with no seed anywhere, at random."""
    seed = request.seed
    if seed is None and sampling.seed is not None:
        seed = derived_seed(sampling.seed, request.sample)
    if seed is None:
        seed = secrets.randbits(63)
    heat = 1.0 if sampling.temperature is None else sampling.temperature
    return Draw(seed % 2**64, heat, sampling.top_k, sampling.top_p)


def _check_supported(model: str, request: Request, sampling: Sampling) -> None:
    """Raises RequestError naming what a local model cannot do: nothing asked for is left out silently."""
    asked = {
        "tools": request.tools,
        "response_format": request.response_format and request.response_format.get("type") != "text",
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        **{name: value for name, value in sampling.extra.items() if name != "speculation"},
    }
    if refused := [name for name, value in asked.items() if value]:
        raise RequestError(
            f"model {model!r}: a local model cannot obey {', '.join(refused)}; leave it out", billed=False
        )


def _speculates(model: str, sampling: Sampling) -> bool:
    """Whether the request leaves speculation on. Raises RequestError for anything but on and off."""
    wanted = sampling.extra.get("speculation", True)
    policy = policy_named(wanted)
    if policy not in (None, "off"):
        raise RequestError(f"model {model!r}: a request's speculation is on or off, got {wanted!r}", billed=False)
    return policy is None


def _check_ranges(model: str, sampling: Sampling) -> None:
    """Raises RequestError naming a setting outside its range."""
    heat, top_p, top_k, limit = sampling.temperature, sampling.top_p, sampling.top_k, sampling.max_tokens
    rules = {
        f"temperature must be a number ≥ 0, got {heat}": heat is None or 0 <= heat < math.inf,
        f"top_p must lie in (0, 1], got {top_p}": top_p is None or 0 < top_p <= 1,
        f"top_k must be ≥ 1, got {top_k}": top_k is None or top_k >= 1,
        f"max_tokens must be ≥ 1, got {limit}": limit is None or limit >= 1,
    }
    if broken := [rule for rule, kept in rules.items() if not kept]:
        raise RequestError(f"model {model!r}: {'; '.join(broken)}", billed=False)


def _settles(waiting: asyncio.Future[Any]) -> Callable[[Answer | BaseException], None]:
    def settle(result: Answer | BaseException) -> None:
        if waiting.done():
            return
        if isinstance(result, BaseException):
            waiting.set_exception(result)
        else:
            waiting.set_result(result)

    return settle


def _ignored(result: Answer | BaseException) -> None:
    """The `done` of a job that has not been given its own yet."""
