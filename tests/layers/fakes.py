"""An in-memory context for layer tests: answers by role, real English prompts, every draw and note recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from archon.errors import ClientError, NodeError, UnparseableError
from archon.prompts import EnglishPack
from archon.protocols import Role, RoleInputs, RoleOutput, Sandbox
from archon.types import Candidate, Completion, Message, Sampling, State, Usage, assistant, canonical_json, user

T = TypeVar("T")
Answer = str | Exception
Script = Mapping[str, Answer | Callable[[RoleInputs, int], Answer]]
"""By role: an answer, or a function of the call's inputs and the draw's sample index."""


@dataclass(frozen=True)
class Draw:
    """One draw that a layer made."""

    model: str
    role: str
    messages: tuple[Message, ...]
    sample: int
    sampling: Sampling
    inputs: RoleInputs

    @property
    def name(self) -> str:
        """What makes two draws the same draw."""
        wire = [message.to_dict() for message in self.messages]
        return canonical_json([self.model, wire, self.sampling.to_dict(), self.sample])


@dataclass
class FakeContext:
    """`archon.protocols.Context` over a script."""

    script: Script = field(default_factory=dict)
    context_chars: int | None = None
    """Characters a prompt may have; None = any number."""
    sandbox: Sandbox | None = None
    node: str = "node"
    draws: list[Draw] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    pack: EnglishPack = field(default_factory=lambda: EnglishPack(b"secret"))

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
        messages = tuple(self.pack.render(role, inputs))
        made = [Draw(model, role, messages, offset + index, sampling, inputs) for index in range(samples)]
        self.draws += made
        await asyncio.sleep(0)
        answers = [self._answer(draw) for draw in made]
        done = tuple(Completion(assistant(text), model, Usage(calls=1)) for text in answers if isinstance(text, str))
        if len(done) < quorum:
            raise NodeError(self.node, "too few draws", [each for each in answers if isinstance(each, Exception)])
        return done

    async def ask(
        self, model: str, role: Role, inputs: RoleInputs, sampling: Sampling = Sampling(), *, offset: int = 0
    ) -> RoleOutput | None:
        (first,) = await self.draw(model, role, inputs, sampling, offset=offset)
        try:
            return self.pack.parse(role, first.text, inputs)
        except UnparseableError:
            self.note("repair", role)
        repair = replace(inputs, failed=first.text, wanted=role)
        (second,) = await self.draw(model, "repair", repair, sampling, offset=offset)
        try:
            return self.pack.parse(role, second.text, inputs)
        except UnparseableError:
            self.note("unparseable", role)
            return None

    async def gather(self, *branches: Awaitable[T]) -> list[T]:
        return list(await asyncio.gather(*branches))

    def fits(self, model: str, role: Role, inputs: RoleInputs, sampling: Sampling = Sampling()) -> bool:
        if self.context_chars is None:
            return True
        return sum(len(message.text) for message in self.pack.render(role, inputs)) <= self.context_chars

    def extract(self, text: str) -> str | None:
        """What follows the last "answer ", as in a worked solution."""
        _, found, answer = text.rpartition("answer ")
        return answer.strip() if found else None

    def candidate(self, completion: Completion, index: int, parents: Sequence[Candidate] = ()) -> Candidate:
        ids = tuple(parent.id for parent in parents)
        return Candidate(f"{self.node}#{index}", completion.message, completion.model, self.node, parents=ids)

    def note(self, kind: str, message: str, **data: Any) -> None:
        self.notes.append((kind, message))

    def kinds(self) -> set[str]:
        """Kinds of the notes made."""
        return {kind for kind, _ in self.notes}

    def drawn(self, role: str) -> list[Draw]:
        """The draws of one role."""
        return [draw for draw in self.draws if draw.role == role]

    def _answer(self, draw: Draw) -> Answer:
        scripted = self.script.get(draw.role, self.script.get("*", ClientError(f"no script for {draw.role}")))
        return scripted(draw.inputs, draw.sample) if callable(scripted) else scripted


def candidate(name: str, text: str | None = None, **annotations: Any) -> Candidate:
    """A candidate from an earlier node."""
    return Candidate(f"earlier#{name}", assistant(name if text is None else text), "m", "earlier", **annotations)


def state(*texts: str, question: str = "What is 2 + 3?") -> State:
    """A conversation of one question, with a candidate for each text."""
    return State((user(question),), tuple(candidate(str(index), text) for index, text in enumerate(texts)))


def texts(given: State) -> list[str]:
    """The candidates' texts, in order."""
    return [each.text for each in given.candidates]


def run(layer: Any, given: State, ctx: FakeContext) -> State:
    """Runs a layer to its end."""
    result = asyncio.run(layer.run(given, ctx))
    assert isinstance(result, State)
    return result


FAILURE = ClientError("upstream is down")
