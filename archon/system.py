"""`Archon`: a system you can run. The Python face of the engine.

from archon import Archon, Critic, Fuser, Generator
system = Archon(Generator("zoo/abacus", samples=5) >> Critic("zoo/clerk") >> Fuser("zoo/till"))
print(system.run("A shop sells 4 pens a day ...").text)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archon import drawing, system_file
from archon.architecture import Architecture, Rule
from archon.compose import Part
from archon.default_models import with_defaults
from archon.errors import ConfigError
from archon.graph import GraphPlan, check, plan
from archon.models import ModelSpec, ModelTable
from archon.system_file import SystemFile
from archon.types import Message, Sampling, user

if TYPE_CHECKING:
    from archon.budget import Budget
    from archon.clients.stack import ClientStack
    from archon.executor import Result
    from archon.protocols import Sandbox
    from archon.types import Chunk

CACHE_FILE = "calls.sqlite"
"""Name of the call cache inside its folder."""

Question = str | Message | Mapping[str, Any] | Sequence[Message | Mapping[str, Any]]
"""A question as text, one message, or a whole conversation; messages may be OpenAI dicts."""

Models = ModelTable | Iterable[ModelSpec | Mapping[str, Any]] | Path | str | None
"""A model table, its rows, or a YAML file that holds one."""


class Archon:
    """An architecture with its models.

    Args:
        system: a composition such as `Generator(...) >> Fuser(...)`, or an `Architecture`.
        models: rows for the models that need more than their name; "openai/gpt-4o-mini" and "zoo/abacus" need none.
        name: for people.
        extractor: how a final answer is read from a text (number, math, choice, text, code); voting and scoring use it.
        cache: folder of the call cache; None = no cache.
        seed: two runs with one seed make the same draws, on models that honour seeds.
        lift: construction rules to leave aside.

    Raises:
        ArchitectureError: the system cannot be built.

    Every run opens and closes its connections; inside `async with system:` they stay open between runs,
    until the last of several such blocks (nested, or in tasks at once) ends.
    """

    def __init__(
        self,
        system: Part | Architecture,
        *,
        models: Models = None,
        name: str | None = None,
        extractor: str = "number",
        cache: Path | str | None = None,
        seed: int = 0,
        lift: tuple[Rule, ...] = (),
    ) -> None:
        architecture = system.architecture(name, lift) if isinstance(system, Part) else system
        self.graph = check(architecture)
        self.architecture = architecture
        self.models = with_defaults(_table(models), architecture.model_ids)
        self.extractor = extractor
        self.cache = Path(cache) if cache is not None else None
        self.seed = seed
        self._facts: Mapping[str, Any] = {}
        self._stack: ClientStack | None = None
        self._holders = 0

    @classmethod
    def load(cls, path: Path | str, *, models: Models = None, cache: Path | str | None = None) -> Archon:
        """A system from a file: `winner.yaml` of a search, a bare architecture, or an original Archon JSON config.

        `models` adds rows or replaces those of the file. Warnings of a config are issued as `UserWarning`.
        """
        found = system_file.load(path)
        _warn(found.warnings)
        table = found.models.merged(_table(models))
        loaded = cls(found.architecture, models=table, extractor=found.extractor, cache=cache, seed=found.seed)
        loaded._facts = found.facts
        return loaded

    def save(self, path: Path | str) -> None:
        """Writes a file that `load` reads: architecture, models without secrets, what is known of its quality."""
        SystemFile(self.architecture, self.models, self.extractor, self.seed, self._facts).save(Path(path))

    @property
    def hash(self) -> str:
        """The architecture's canonical hash: equal for every spelling of one system."""
        return self.architecture.hash

    @property
    def facts(self) -> Mapping[str, Any]:
        """What its file says of it: benchmark, scores, search."""
        return self._facts

    def plan(self) -> GraphPlan:
        """Calls and candidates of one run, as upper bounds."""
        return plan(self.architecture)

    def draw(self, form: str = "text") -> str:
        """The graph as text, or as a Mermaid flowchart (`form="mermaid"`)."""
        if form == "text":
            return drawing.text(self.architecture)
        if form == "mermaid":
            return drawing.mermaid(self.architecture)
        raise ConfigError(f"form must be 'text' or 'mermaid', got {form!r}")

    def run(self, question: Question, **options: Any) -> Result:
        """Answers one question; see `arun`. For code that runs no event loop."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.arun(question, **options))
        raise ConfigError("run() was called inside an event loop; use `await system.arun(...)`")

    async def arun(
        self,
        question: Question,
        *,
        seed: int | None = None,
        budget: Budget | None = None,
        deadline: float | None = None,
        sandbox: Sandbox | None = None,
        sampling: Sampling = Sampling(),
        sink: Callable[[Chunk], None] | None = None,
    ) -> Result:
        """Answers one question or conversation.

        Args:
            seed: in place of the system's own.
            budget: what this run may spend.
            deadline: seconds after which the run is given up.
            sampling: settings for answers where the nodes set none.
            sink: receives the pieces of the answer, when the last node makes a single call.

        Raises:
            ConfigError, BudgetError, RunError: see `archon.executor.run`.
        """
        from archon import executor
        from archon.context import RunOptions

        stack, own = self._opened()
        try:
            return await executor.run(
                self.graph,
                messages(question),
                stack,
                seed=self.seed if seed is None else seed,
                extractor=self.extractor,
                budget=budget,
                deadline=deadline,
                sandbox=sandbox,
                options=RunOptions(sampling=sampling),
                sink=sink,
            )
        finally:
            if own:
                await stack.aclose()

    async def stream(self, question: Question, **options: Any) -> AsyncIterator[str | Result]:
        """The answer's text in pieces as they arrive, then the `Result`.

        Tokens are forwarded when the last node makes a single call; otherwise the whole answer comes as one piece.
        """
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        task = asyncio.create_task(self.arun(question, sink=lambda chunk: pieces.put_nowait(chunk.text), **options))
        task.add_done_callback(lambda _: pieces.put_nowait(None))
        streamed = False
        try:
            while (piece := await pieces.get()) is not None:
                if piece:
                    streamed = True
                    yield piece
            result = await task
            if not streamed:
                yield result.text
            yield result
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def __aenter__(self) -> Archon:
        self._stack = self._stack or self._new_stack()
        self._holders += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._holders -= 1
        if not self._holders:
            await self.aclose()

    async def aclose(self) -> None:
        """Closes what `async with` opened."""
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    def _opened(self) -> tuple[ClientStack, bool]:
        if self._stack is not None:
            return self._stack, False
        return self._new_stack(), True

    def _new_stack(self) -> ClientStack:
        from archon.clients.cache import CacheStore
        from archon.clients.stack import ClientStack

        store = CacheStore(self.cache / CACHE_FILE) if self.cache is not None else None
        return ClientStack(self.models, cache=store)

    def __repr__(self) -> str:
        return f"Archon({self.architecture.name or self.hash}, {len(self.architecture.nodes)} nodes)"


def messages(question: Question) -> tuple[Message, ...]:
    """A conversation from any of the forms a question may have. Raises ConfigError for anything else."""
    if isinstance(question, str):
        return (user(question),)
    if isinstance(question, Message):
        return (question,)
    if isinstance(question, Mapping):
        return (_message(question),)
    if not isinstance(question, Sequence):
        raise ConfigError(f"a question is text or messages, got {type(question).__name__}")
    return tuple(each if isinstance(each, Message) else _message(each) for each in question)


def _message(raw: object) -> Message:
    if not isinstance(raw, Mapping) or not isinstance(raw.get("role"), str):
        raise ConfigError(f"a message needs a `role`, got {raw!r:.80}")
    return Message.from_dict(raw)


def _table(models: Models) -> ModelTable:
    if models is None:
        return ModelTable()
    if isinstance(models, ModelTable):
        return models
    if isinstance(models, str | Path):
        return ModelTable.load(Path(models))
    return ModelTable.from_list([row.model_dump() if isinstance(row, ModelSpec) else dict(row) for row in models])


def _warn(texts: Iterable[str]) -> None:
    import warnings

    for text in texts:
        warnings.warn(text, UserWarning, stacklevel=3)
