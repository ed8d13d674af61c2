"""The executor for recorded models gives what the engine's executor gives."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from archon import Fuser, Generator, Vote, executor
from archon.architecture import Architecture
from archon.clients.stack import ClientStack
from archon.errors import RunError
from archon.graph import check
from archon.models import ModelTable
from archon.search.recorded import RecordedExecutor
from archon.types import user

QUESTIONS = ("What is 2 plus 2?", "What is 3 plus 4?")
ANSWERS = {"a": ("4", "7", "4"), "b": ("5", "7", None), "c": ("4", None, "6")}
"""By model: sample 0 of both questions, then sample 1 of the first."""


def table(folder: Path) -> ModelTable:
    path = folder / "recorded.jsonl"
    draws = [(QUESTIONS[0], 0), (QUESTIONS[1], 0), (QUESTIONS[0], 1)]
    lines = [
        {"question": question, "model": model, "sample": sample, "answer": f"The answer is {answer}", "seconds": 0.5}
        for model, answers in ANSWERS.items()
        for (question, sample), answer in zip(draws, answers, strict=True)
        if answer is not None
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    options = {"path": str(path)}
    price = {"prompt": 1, "completion": 2}
    return ModelTable.from_list([{"id": m, "client": "replay", "options": options, "price": price} for m in ANSWERS])


SYSTEMS = [
    Generator("a"),
    (Generator("a") | Generator("b") | Generator("c")) >> Vote(),
    (Generator("b", samples=2) | Generator("c", samples=2)) >> Vote(),
    (Generator("a", samples=2) | Generator("b")) >> (Vote() | Vote()) >> Vote(),
    Generator("c"),
    Generator("a") >> Fuser("b"),
]


def facts(architecture: Architecture, question: str, run: Any, stack: ClientStack) -> Any:
    """What a run gives, or why it fails."""

    async def asked() -> Any:
        return await run(
            check(architecture), (user(question),), stack,
            seed=1, extractor="number", budget=None, deadline=None, sandbox=None,
        )  # fmt: skip

    try:
        result = asyncio.run(asked())
    except RunError as error:
        return str(error), error.trace.list_usage  # type: ignore[attr-defined]
    calls = sorted((call.node, call.model, call.sample, call.error, call.text) for call in result.trace.calls)
    ids = [each.id for each in result.candidates]
    notes = sorted((note.node, note.kind) for note in result.trace.notes)
    return result.text, ids, result.list_usage, result.spend, result.list_latency, calls, notes


@pytest.mark.parametrize("system", SYSTEMS, ids=str)
def test_answers_books_and_failures_agree_with_the_executor(system: Any, tmp_path: Path) -> None:
    stack, quick = ClientStack(table(tmp_path)), RecordedExecutor()
    made = system.architecture()
    for _ in range(2):  # the second time from memory
        for question in QUESTIONS:
            assert facts(made, question, quick, stack) == facts(made, question, executor.run, stack)


def test_systems_that_share_a_generator_share_its_draw_under_their_own_names(tmp_path: Path) -> None:
    stack, quick = ClientStack(table(tmp_path)), RecordedExecutor()
    for system in SYSTEMS:
        made = system.architecture()
        assert facts(made, QUESTIONS[0], quick, stack) == facts(made, QUESTIONS[0], executor.run, stack)
