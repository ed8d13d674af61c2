"""Recorded answers in place of a model: the same question and sample index give the same answer, and nothing is called.

The question is the last user message's text. What is not recorded is a `RequestError`; nothing is made up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

from archon.clients.options import Options, read_options
from archon.clients.price import priced
from archon.clients.recordings import Columns, Recorded, read_index, read_questions
from archon.clients.wrapper import whole
from archon.errors import ConfigError, RequestError
from archon.models import ModelSpec
from archon.types import Chunk, Completion, Price, Request, Usage, assistant, stable_hash

_CHARS_PER_TOKEN = 4


class ReplayOptions(Options):
    """`options` of a `replay` model; the model's `name` (default: its id) chooses whose answers are replayed."""

    path: Path
    """JSONL (plain or .gz) or Parquet file of recorded answers. Columns `prompt_tokens`, `completion_tokens`,
    `seconds` and `finish_reason` are used where they exist; tokens not recorded are estimated as a quarter of the
    characters."""
    question: str = "question"
    """Column that holds the question's text, or (with `questions`) its line number."""
    questions: Path | None = None
    """JSONL file with one question a line, where the recording names questions by line number (from 0)."""
    questions_field: str = "question"
    """Field of `questions` that holds the text."""
    model: tuple[str, ...] = ("model",)
    """Columns that form the model's name, joined by `separator`; null reads "-", numbers are short ("0", "0.7")."""
    separator: str = "/"
    sample: str = "sample"
    """Column of the sample index; 0 where there is no such column."""
    answer: str = "answer"
    """Column of the answer's text; null = not answered."""


class ReplayClient:
    """A transport that looks answers up.

    Args:
        resources: where indices are kept, so that all models of a file share one.

    Raises:
        ConfigError: the file is missing, lacks a column, or holds no answers of this model (lists the names it holds).
    """

    recorded = True

    def __init__(self, spec: ModelSpec, resources: MutableMapping[str, Any]) -> None:
        options = read_options(spec, ReplayOptions)
        shared = f"replay {stable_hash(options.model_dump(mode='json'))}"
        if shared not in resources:
            resources[shared] = _index(options)
        index = resources[shared]
        if spec.upstream not in index:
            known = ", ".join(sorted(index)) or "none"
            raise ConfigError(f"model {spec.id!r}: {options.path} has no answers of {spec.upstream!r}; it has: {known}")
        self._model = spec.id
        self._answers: dict[tuple[str, int], Recorded] = index[spec.upstream]
        self._price: Price | None = spec.known_price

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> ReplayClient:
        """The client of one row of the model table, with an index of its own."""
        return cls(spec, {})

    @classmethod
    def from_stack(cls, spec: ModelSpec, resources: MutableMapping[str, Any]) -> ReplayClient:
        """The client of one row of the model table, sharing what the stack's other clients have read."""
        return cls(spec, resources)

    @property
    def capabilities(self) -> frozenset[str]:
        """It streams (in one piece)."""
        return frozenset({"stream"})

    async def complete(self, request: Request) -> Completion:
        """The recorded answer. Raises RequestError where there is none."""
        question = next((each.text for each in reversed(request.messages) if each.role == "user"), "").strip()
        found = self._answers.get((question, request.sample))
        if found is None:
            name = f"sample {request.sample} of the question {question[:40]!r}"
            raise RequestError(f"model {self._model!r}: no answer is recorded for {name}", billed=False)
        usage = Usage(
            1,
            _known(found.prompt_tokens, question),
            _known(found.completion_tokens, found.answer),
            seconds=found.seconds or 0.0,
        )
        reason = found.finish_reason or "stop"
        return Completion(assistant(found.answer), self._model, priced(usage, self._price), reason)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The recorded answer in one piece."""
        async for chunk in whole(await self.complete(request)):
            yield chunk

    async def aclose(self) -> None:
        """Nothing to free."""


def _index(options: ReplayOptions) -> Any:
    questions = read_questions(options.questions, options.questions_field) if options.questions else None
    columns = Columns(options.question, options.model, options.separator, options.sample, options.answer)
    return read_index(options.path, columns, questions)


def _known(tokens: int | None, text: str) -> int:
    return max(1, -(-len(text) // _CHARS_PER_TOKEN)) if tokens is None else int(tokens)
