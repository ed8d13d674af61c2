"""The seams: the whole architecture on one screen.

Concrete classes never import each other; they meet here. Roles and their typed inputs and outputs stand first, because
layers emit typed values and prompt packs make words of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

from archon.types import (
    Candidate,
    Chunk,
    Completion,
    Message,
    Question,
    Request,
    Sampling,
    Score,
    Split,
    State,
    UnitTest,
)

Role = Literal[
    "generate", "fuse", "rank", "compare", "critique", "verify", "verdict", "write_tests", "judge_tests", "repair"
]
"""What a model is asked to do in one call."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RoleInputs:
    """What one call is about. A pack uses the fields its role needs."""

    conversation: tuple[Message, ...]
    candidates: tuple[Candidate, ...] = ()
    """fuse, rank, critique: all of them; compare: two; verify, verdict, judge_tests: one."""
    tests: tuple[UnitTest, ...] = ()
    reasoning: str | None = None
    """verdict: the reasoning the verdict is to follow from."""
    count: int | None = None
    """write_tests: how many tests at most; rank: how many to keep."""
    template: str = ""
    """The layer's words for packs that speak English: a jinja2 template, the layer's default or the user's override."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further values for the template."""
    failed: str | None = None
    """repair: the model's text that could not be parsed."""
    wanted: Role | None = None
    """repair: the role whose form was missed."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """rank: the given candidates, best first, as 0-based indices; each index at most once."""

    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Preference:
    """compare: how far the first of two candidates is preferred: 1 = first, 0 = second, 0.5 = tie."""

    first: float


@dataclass(frozen=True, slots=True)
class Critiques:
    """critique: one text a candidate, in the given order; None where the model left one out."""

    texts: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """verdict: whether the candidate is correct."""

    correct: bool


@dataclass(frozen=True, slots=True)
class Tests:
    """write_tests: the tests written."""

    tests: tuple[UnitTest, ...]

    __test__: ClassVar[bool] = False  # its name would make pytest collect it


@dataclass(frozen=True, slots=True)
class Judgements:
    """judge_tests: pass or fail of each test, in the given order; None where the model did not say."""

    passed: tuple[bool | None, ...]


RoleOutput = Ranking | Preference | Critiques | Verdict | Tests | Judgements


@runtime_checkable
class Client(Protocol):
    """The only way to a model. Wrappers (cache, retry, limit, budget, …) are clients that hold a client.

    Capabilities known today: "seed" (equal seeds give equal draws), "stream", "logprobs", "score", "tools",
    "count_tokens". A client that declares "score" has
    `async score(messages, continuation) -> tuple[TokenLogprob, ...]`; one that declares "count_tokens" has
    `count_tokens(messages) -> int`.
    """

    @property
    def capabilities(self) -> frozenset[str]: ...

    async def complete(self, request: Request) -> Completion:
        """One answer. Raises a `ClientError`; never returns an error as text."""
        ...

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The answer in pieces as they arrive; the last chunk holds the whole `Completion`."""
        ...

    async def aclose(self) -> None:
        """Frees connections, files, threads. Idempotent."""
        ...


@runtime_checkable
class PromptPack(Protocol):
    """How one role is put to one kind of model."""

    def render(self, role: Role, inputs: RoleInputs) -> list[Message]: ...

    def parse(self, role: Role, text: str, inputs: RoleInputs) -> RoleOutput:
        """The typed output. Raises `UnparseableError` when the text is not of the role's form.

        Not called for generate, fuse and verify, whose output is the text itself.
        """
        ...


@runtime_checkable
class Sandbox(Protocol):
    """Runs model-written code away from everything else."""

    async def check(self, program: str, test: str) -> bool:
        """Whether `test` (Python statements) passes after `program`."""
        ...

    async def check_all(self, program: str, tests: Sequence[str], *, names: Sequence[str] = ()) -> tuple[bool, ...]:
        """Whether each of `tests` passes after `program`, in as few runs as can be.

        `names` are the program's functions that the tests may call; none given = all it defines.
        """
        ...


class Context(Protocol):
    """All that a layer may reach beside its state; the only carrier of what changes in a run."""

    @property
    def node(self) -> str:
        """Id of the node being run."""
        ...

    @property
    def sandbox(self) -> Sandbox | None: ...

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
        """`samples` draws of one request at once, in sample order.

        Failed draws are dropped and recorded. The same request made twice in one node with the same `offset` is the
        same draw: a layer that wants a second, different one (two candidates of equal text) passes another offset.

        Raises:
            NodeError: fewer than `quorum` draws succeeded; holds every cause.
        """
        ...

    async def ask(
        self, model: str, role: Role, inputs: RoleInputs, sampling: Sampling = Sampling(), *, offset: int = 0
    ) -> RoleOutput | None:
        """One draw, parsed by the model's pack, with one repair attempt.

        None = neither text could be parsed, or the repair's call failed; that is recorded, and the layer falls back as
        its docstring says.
        """
        ...

    async def gather(self, *branches: Awaitable[T]) -> list[T]:
        """Runs branches at once, results in the given order. The first error cancels the others.

        Layers use it in place of asyncio.gather, so that list latency counts branches as parallel.
        """
        ...

    def fits(self, model: str, role: Role, inputs: RoleInputs, sampling: Sampling = Sampling()) -> bool:
        """Whether the prompt and the answer fit the model's context; True where its size is not known."""
        ...

    def extract(self, text: str) -> str | None:
        """The final answer in a text, normalised so that equal answers are equal strings; None where there is none."""
        ...

    def candidate(self, completion: Completion, index: int, parents: Sequence[Candidate] = ()) -> Candidate:
        """A candidate of this node, its id made from the node's id and `index`."""
        ...

    def note(self, kind: str, message: str, **data: Any) -> None:
        """Records something a reader of the trace should know (a fallback taken, a candidate dropped)."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What a layer will do with so many incoming candidates: upper bounds, known before any call."""

    calls: int
    candidates: int
    contingent: int = 0
    """Further calls at most: repairs of answers that could not be parsed, and chunks where the context overflows."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What the construction rules and the search need to know of a layer class."""

    kind: str
    """generator, fuser, ranker, critic, verifier, tests (writes them), tests_evaluator; rules are stated by kind."""
    models: tuple[str, ...] = ("model",)
    """Names of the parameters that hold a model id."""
    draws: bool = False
    """True when the node's `samples` draws are one request's, so that sibling nodes must not repeat sample indices."""
    summary: str = ""
    """One line for `archon layers`."""


@runtime_checkable
class Layer(Protocol):
    """One inference-time technique: a frozen dataclass of its parameters, a value → value function of the state.

    A layer class is a keyword-only frozen dataclass with a class attribute `traits: ClassVar[Traits]`; the registry
    validates its fields.
    """

    traits: ClassVar[Traits]

    def plan(self, incoming: int) -> Plan:
        """Calls and resulting candidates for `incoming` candidates (0 for a root)."""
        ...

    async def run(self, state: State, ctx: Context) -> State:
        """The new state. Never changes `state`. Raises NodeError when nothing usable is left."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """Judges answers to one question.

    One that compares with a baseline reads the baseline's answer from `question.meta`.
    """

    async def score(self, question: Question, answer: Completion, ctx: Context | None) -> Score:
        """The score; `value` None when the answer cannot be scored. Simple scorers ignore `ctx`."""
        ...


@runtime_checkable
class Benchmark(Protocol):
    """Questions, splits, the scorer they need."""

    @property
    def name(self) -> str: ...

    @property
    def extractor(self) -> str:
        """Name of the answer extraction (archon.extract) that its answers need."""
        ...

    @property
    def scorer(self) -> Scorer: ...

    def questions(self, split: Split) -> Sequence[Question]:
        """The questions of one split; splits are disjoint."""
        ...

    def fingerprint(self) -> str:
        """Hash of all questions and references."""
        ...
