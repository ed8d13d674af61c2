"""The context of a run and of a node: the only carrier of what changes.

A draw is named by (model, canonical request, sample index); its seed derives from the run's seed and that name. The
sample index is the node's base (assigned in canonical order, so that sibling nodes never repeat a draw) plus the
caller's offset plus the draw's place among its `samples`: nothing depends on the order of arrival.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar, cast

from archon.budget import Budget
from archon.errors import ArchonError, BudgetError, ClientError, ContextOverflowError, NodeError, UnparseableError
from archon.models import ModelSpec
from archon.protocols import Client, PromptPack, Role, RoleInputs, RoleOutput, Sandbox
from archon.trace import Call, Note, Trace
from archon.types import Candidate, Chunk, Completion, Message, Request, Sampling, Usage, derived_seed

T = TypeVar("T")

_ANSWERS = frozenset({"generate", "fuse"})
"""Roles whose text is an answer to the user, as opposed to a judgement about answers."""

_REPAIR_OFFSET = 1_000_000
"""Added to a repair's offset: a pack may ask the same request again, and that must be another draw."""

_list_clock: ContextVar[float] = ContextVar("list_clock")
"""Seconds of list latency passed in the running branch of a node. A context variable because branches are tasks: each
has its own value, and `gather` joins them by the maximum."""

_alone: ContextVar[bool] = ContextVar("alone", default=True)
"""False in a branch beside others: its text is not the answer, so it is not streamed and has no final form."""


class Clients(Protocol):
    """What a context needs of the client stack (archon.clients.stack.ClientStack has it)."""

    def open(self, model: str, budget: Budget | None = None) -> Client: ...
    def pack(self, model: str) -> PromptPack: ...
    def spec(self, model: str) -> ModelSpec: ...


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the caller of a run asks of it, beside the conversation."""

    sampling: Sampling = Sampling()
    """Settings for answers (generators and fusers); a node's own settings win."""
    tools: tuple[dict[str, Any], ...] = ()
    """Offered to generators and fusers."""
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None
    """Asked of the nodes that write the answer alone."""
    final: Sampling = Sampling()
    """Settings for the nodes that write the answer, in place of their own."""


@dataclass(slots=True)
class Stopwatch:
    """Measures the time in which at least one of several overlapping things goes on."""

    seconds: float = 0.0
    _running: int = 0
    _since: float = 0.0

    def __enter__(self) -> None:
        if not self._running:
            self._since = time.perf_counter()
        self._running += 1

    def __exit__(self, *_: object) -> None:
        self._running -= 1
        if not self._running:
            self.seconds += time.perf_counter() - self._since


@dataclass(slots=True)
class RunContext:
    """What all nodes of one run share."""

    clients: Clients
    extract: Callable[[str], str | None]
    seed: int = 0
    budget: Budget | None = None
    sandbox: Sandbox | None = None
    options: RunOptions = RunOptions()
    sink: Callable[[Chunk], None] | None = None
    """Receives the pieces of the output node's answer when it is made by a single call."""
    trace: Trace = field(default_factory=Trace)
    began: float = field(default_factory=time.monotonic)
    """Monotonic time that the trace's seconds count from."""
    partial: bool = False
    """Whether a draw that the budget refuses is dropped like a failed one, so that the run goes on with what it has."""
    refused: BudgetError | None = None
    """The budget's first refusal, where `partial` let the run go on."""
    first_sample: int = 0
    """Added to every sample index: two runs of one conversation that must differ take other draws."""
    drafts: list[tuple[str, Completion]] = field(default_factory=list)
    """Every answer that has come, with its node, in order of arrival."""
    waiting: Stopwatch = field(default_factory=lambda: Stopwatch())
    """Time in which at least one model call was under way."""
    _open: dict[str, Client] = field(default_factory=dict)

    def client(self, model: str) -> Client:
        """The run's client for a model."""
        if model not in self._open:
            self._open[model] = self.clients.open(model, self.budget)
        return self._open[model]


@dataclass(slots=True)
class NodeContext:
    """One node's view of the run: `archon.protocols.Context`."""

    run: RunContext
    node: str
    base: int = 0
    is_output: bool = False
    """Whether the answer is in this node's own words: it writes candidates, and nothing behind it writes others."""
    streams: bool = False
    """Whether this node's single call goes to the run's sink."""

    @property
    def sandbox(self) -> Sandbox | None:
        """Where model-written code may run; None = nowhere."""
        return self.run.sandbox

    async def draw(
        self,
        model: str,
        role: Role,
        inputs: RoleInputs,
        sampling: Sampling = Sampling(),
        *,
        samples: int = 1,
        offset: int = 0,
        quorum: int = 1,
    ) -> tuple[Completion, ...]:
        """See `archon.protocols.Context.draw`."""
        request = self._request(model, role, inputs, sampling)
        canonical, first = request.canonical(), self.run.first_sample + self.base + offset
        draws = await self.gather(*(self._drawn(model, role, request, canonical, first + i) for i in range(samples)))
        done = tuple(each for each in draws if isinstance(each, Completion))
        if len(done) < quorum:
            causes = [each for each in draws if not isinstance(each, Completion)]
            raise NodeError(
                self.node, f"{len(done)} of {samples} draws from {model!r} succeeded, {quorum} needed", causes
            )
        return done

    async def ask(
        self, model: str, role: Role, inputs: RoleInputs, sampling: Sampling = Sampling(), *, offset: int = 0
    ) -> RoleOutput | None:
        """See `archon.protocols.Context.ask`."""
        pack = self.run.clients.pack(model)
        (first,) = await self.draw(model, role, inputs, sampling, offset=offset)
        try:
            return pack.parse(role, first.text, inputs)
        except UnparseableError as error:
            self.note("repair", f"{role}: {error}; asked once more", model=model)
        repair = replace(inputs, failed=first.text, wanted=role)
        try:
            (second,) = await self.draw(model, "repair", repair, sampling, offset=offset + _REPAIR_OFFSET)
            return pack.parse(role, second.text, inputs)
        except UnparseableError as error:
            self.note("unparseable", f"{role}: {error}, also after one repair", model=model)
        except (NodeError, ContextOverflowError) as error:
            self.note("unparseable", f"{role}: the repair failed: {error}", model=model)
        return None

    async def gather(self, *branches: Awaitable[T]) -> list[T]:
        """See `archon.protocols.Context.gather`."""
        start = _list_clock.get(0.0)

        async def timed(branch: Awaitable[T]) -> tuple[T, float]:
            _list_clock.set(start)
            if len(branches) > 1:
                _alone.set(False)
            return await branch, _list_clock.get()

        if len(branches) == 1:
            return [(await timed(branches[0]))[0]]
        results = await _all([timed(branch) for branch in branches])
        _list_clock.set(max((clock for _, clock in results), default=start))
        return [result for result, _ in results]

    def fits(self, model: str, role: Role, inputs: RoleInputs, sampling: Sampling = Sampling()) -> bool:
        """See `archon.protocols.Context.fits`. Tokens are counted by the client where it can, else 3 bytes make one."""
        spec = self.run.clients.spec(model)
        if spec.context is None:
            return True
        request = self._request(model, role, inputs, sampling)
        answer = request.sampling.max_tokens or 0
        return self._prompt_tokens(model, request.messages) + answer <= spec.context

    def extract(self, text: str) -> str | None:
        """See `archon.protocols.Context.extract`."""
        return self.run.extract(text)

    def candidate(self, completion: Completion, index: int, parents: Sequence[Candidate] = ()) -> Candidate:
        """See `archon.protocols.Context.candidate`."""
        logprobs = completion.logprobs
        return Candidate(
            id=f"{self.node}#{index}",
            message=completion.message,
            model=completion.model,
            node=self.node,
            logprob=sum(each.logprob for each in logprobs) if logprobs else None,
            parents=tuple(parent.id for parent in parents),
            finish_reason=completion.finish_reason,
            token_logprobs=logprobs,
        )

    def note(self, kind: str, message: str, **data: Any) -> None:
        """See `archon.protocols.Context.note`."""
        self.run.trace.notes.append(Note(self.node, kind, message, data))

    def _request(self, model: str, role: Role, inputs: RoleInputs, sampling: Sampling) -> Request:
        messages = tuple(self.run.clients.pack(model).render(role, inputs))
        spec, options = self.run.clients.spec(model), self.run.options
        if role not in _ANSWERS:
            return Request(messages, spec.sampling(sampling))
        wanted = sampling.over(options.sampling)
        final = self.is_output and _alone.get()
        return Request(
            messages,
            spec.sampling(options.final.over(wanted) if final else wanted),
            tools=options.tools,
            tool_choice=options.tool_choice if options.tools else None,
            response_format=options.response_format if final else None,
        )

    async def _drawn(
        self, model: str, role: Role, request: Request, canonical: str, sample: int
    ) -> Completion | ClientError:
        """One draw, recorded. A failed call is returned, not raised: its siblings go on."""
        seed = derived_seed(self.run.seed, model, canonical, sample)
        try:
            with self.run.waiting:
                completion = await self._call(model, role, request.drawn(sample, seed))
        except ContextOverflowError as error:  # the layer's own fault: its node fails, so its siblings need not go on
            self._failed(model, role, sample, error)
            raise
        except BudgetError as error:
            if not self.run.partial:
                raise
            self.run.refused = self.run.refused or error
            self.note("stopped", str(error), model=model)
            return ClientError(str(error), billed=False)
        except ClientError as error:
            return self._failed(model, role, sample, error)
        except ArchonError:
            raise
        except Exception as error:  # a third party's client may raise anything; its bug costs its draw
            failure = ClientError(f"model {model!r}: its client raised {type(error).__name__}: {error}")
            failure.__cause__ = error
            return self._failed(model, role, sample, failure)
        self._record(model, role, sample, completion.usage, completion.cached, text=completion.text)
        if role in _ANSWERS:
            self.run.drafts.append((self.node, completion))
        _list_clock.set(_list_clock.get(0.0) + completion.usage.seconds)
        return completion

    def _failed(self, model: str, role: Role, sample: int, error: ClientError) -> ClientError:
        """The error, recorded with what it cost."""
        given = error.completion
        paid, cached = (given.usage, given.cached) if given else (Usage(), False)
        self._record(model, role, sample, paid, cached, error=str(error))
        _list_clock.set(_list_clock.get(0.0) + paid.seconds)
        return error

    async def _call(self, model: str, role: Role, request: Request) -> Completion:
        client = self.run.client(model)
        if not (self.streams and self.run.sink and role in _ANSWERS and _alone.get()):
            return await client.complete(request)
        completion: Completion | None = None
        async for chunk in client.stream(request):
            self.run.sink(chunk)
            completion = chunk.completion or completion
        if completion is None:
            raise ClientError(f"model {model!r}: the stream ended without an answer")
        return completion

    def _record(
        self, model: str, role: Role, sample: int, usage: Usage, cached: bool, error: str | None = None, text: str = ""
    ) -> None:
        ended = time.monotonic() - self.run.began
        self.run.trace.calls.append(Call(self.node, model, role, sample, usage, cached, error, text, ended))

    def _prompt_tokens(self, model: str, messages: tuple[Message, ...]) -> int:
        client = self.run.client(model)
        if "count_tokens" in client.capabilities:
            return int(cast(Any, client).count_tokens(messages))
        return sum(len(message.text.encode()) // 3 + 8 for message in messages)


def start_list_clock(seconds: float) -> None:
    """Sets the list clock of the running task (the executor does, when a node starts)."""
    _list_clock.set(seconds)


def list_clock() -> float:
    """Seconds of list latency passed in the running task."""
    return _list_clock.get(0.0)


async def _all(branches: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Runs all at once, results in order; the first error cancels the rest and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(branch) for branch in branches]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
