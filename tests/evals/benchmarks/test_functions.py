"""humaneval and mbpp: what they read, what they show, what they hide, and how the recorded solutions score."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archon import executor
from archon.architecture import Architecture, Node
from archon.clients.stack import ClientStack
from archon.context import NodeContext, RunContext
from archon.errors import ConfigError
from archon.evals.benchmarks.base import SPLITS, QuestionSet
from archon.evals.benchmarks.functions import HumanEval, Mbpp
from archon.evals.benchmarks.records import read_records
from archon.evals.code_scorer import CodeScorer
from archon.extract import code
from archon.models import ModelTable
from archon.protocols import Benchmark
from archon.registry import layer_names
from archon.sandbox import CodeSandbox
from archon.types import Completion, Question, Usage, assistant
from tests.sandbox.opening import opened

DATA = Path(os.environ.get("ARCHON_TEST_DATA", "../shared/data"))
RECORDED = DATA / "humaneval" / "HumanEval.jsonl.gz"
CANARY = 80_417_233
PROMPT = """import math


def half(x):
    ''' Half of x. '''
    return x / 2


def quarter(x):
    ''' A quarter. '''
"""
ROW = {
    "task_id": "T/0",
    "prompt": PROMPT,
    "entry_point": "quarter",
    "canonical_solution": "    return half(x) / 2\n",
    "test": f"def check(candidate):\n    assert candidate({4 * CANARY}) == {CANARY}\n    assert candidate(8) == 2",
}
MBPP_ROW = {
    "task_id": 2,
    "text": "Write a function to find the shared elements of two lists.",
    "code": "def help_it(): pass\ndef shared(a, b):\n    return set(a) & set(b)",
    "test_setup_code": "",
    "test_list": ["assert set(shared([1, 2], [2])) == {2}", f"assert shared([{CANARY}], [{CANARY}]) == {{{CANARY}}}"],
}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def only(benchmark: QuestionSet) -> Question:
    (question,) = (question for split in SPLITS for question in benchmark.splits[split])
    return question


@pytest.fixture(scope="module")
def sandbox() -> Iterator[CodeSandbox]:
    yield from opened()


def context(sandbox: CodeSandbox) -> NodeContext:
    return NodeContext(RunContext(ClientStack(ModelTable()), code, sandbox=sandbox), "scorer")


async def value(sandbox: CodeSandbox, question: Question, text: str) -> float | None:
    answer = Completion(assistant(text), "m", Usage())
    return (await CodeScorer().score(question, answer, context(sandbox))).value


async def test_humaneval_scores_a_solution_in_every_form(tmp_path: Path, sandbox: CodeSandbox) -> None:
    benchmark = HumanEval.load(path=write(tmp_path / "x.jsonl", ROW))
    question = only(benchmark)
    assert isinstance(benchmark, Benchmark)
    body = ROW["canonical_solution"]
    right = (body, f"{PROMPT}{body}", f"Here:\n```python\n{PROMPT}{body}```\nDone.", f"```\n{body}```", "return x / 4")
    right += (
        "```python\nquarter = lambda x: half(x) / 2\n```",
        "from __future__ import annotations\ndef quarter(x): return x / 4",
    )
    for text in right:
        assert await value(sandbox, question, text) == 1.0, text
    for text in ("", "    pass", "I do not know.", "```python\ndef other(x): return x / 4\n```", "    return x / 3"):
        assert await value(sandbox, question, text) == 0.0, text


async def test_a_prompts_helper_is_the_prompts_own_in_tests(tmp_path: Path, sandbox: CodeSandbox) -> None:
    row = ROW | {"test": "def check(candidate):\n    assert half(candidate(8)) == 1\n"}
    question = only(HumanEval.load(path=write(tmp_path / "x.jsonl", row)))
    assert await value(sandbox, question, "def quarter(x): return 0\ndef half(x): return 1") == 0.0


async def test_mbpp_reads_both_of_its_forms(tmp_path: Path, sandbox: CodeSandbox) -> None:
    sanitized = {"prompt": MBPP_ROW["text"], "test_imports": ["import math"], **MBPP_ROW}
    sanitized["test_list"] = [*MBPP_ROW["test_list"], "assert math.fabs(len(shared([], []))) == 0"]
    del sanitized["text"]
    for row in (MBPP_ROW, sanitized):
        question = only(Mbpp.load(path=write(tmp_path / "x.jsonl", row)))
        assert question.meta["entry_point"] == "shared"
        assert await value(sandbox, question, f"```python\n{MBPP_ROW['code']}\n```") == 1.0
        assert await value(sandbox, question, "def shared(a, b): return {2}") == 0.0
        assert MBPP_ROW["test_list"][0] in question.text


@pytest.mark.parametrize(
    ("benchmark", "row", "said"),
    [
        (HumanEval, {**ROW, "entry_point": "not a name"}, "no Python name"),
        (HumanEval, {key: ROW[key] for key in ROW if key != "test"}, "field 'test'"),
        (Mbpp, MBPP_ROW | {"test_list": []}, "test_list"),
        (Mbpp, MBPP_ROW | {"code": "def other(): pass"}, "call no function"),
    ],
)
def test_a_line_that_is_no_task_is_named(benchmark: Any, row: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        benchmark.load(path=write(tmp_path / "x.jsonl", row))


def test_the_fingerprint_changes_with_a_hidden_test(tmp_path: Path) -> None:
    changed = ROW | {"test": "def check(candidate): pass"}
    first, second = (HumanEval.load(path=write(tmp_path / f"{i}.jsonl", row)) for i, row in enumerate((ROW, changed)))
    assert first.fingerprint() != second.fingerprint()


ANSWER = "TESTS:\n1. assert quarter(4) == 1"
CHAINS = {
    "critic": ("critic",),
    "ranker": ("ranker",),
    "fuser": ("fuser",),
    "verifier": ("verifier",),
    "vote": ("vote",),
    "self_moa_seq": ("self_moa_seq",),
    "unit_test_generator": ("unit_test_generator", "unit_test_evaluator"),
    "unit_test_evaluator": ("unit_test_generator", "unit_test_evaluator", "fuser"),
    "example_tests": ("example_tests", "unit_test_evaluator", "fuser"),
    "generator": (),
}


class Listening:
    """A client stack that keeps every prompt."""

    def __init__(self) -> None:
        table = ModelTable.from_list([{"id": "m", "client": "fake", "options": {"answers": [ANSWER]}}])
        self.stack, self.heard = ClientStack(table), list[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stack, name)

    def open(self, *arguments: Any) -> Any:
        client, heard = self.stack.open(*arguments), self.heard

        class Ear:
            capabilities = client.capabilities

            async def complete(self, request: Any) -> Completion:
                heard.append(request.canonical())
                made: Completion = await client.complete(request)
                return made

        return Ear()


@pytest.mark.parametrize("executable", [False, True])
@pytest.mark.parametrize("layer", CHAINS)
@pytest.mark.parametrize(("benchmark", "row"), [(HumanEval, ROW), (Mbpp, MBPP_ROW)])
def test_hidden_tests_never_reach_a_prompt(
    benchmark: Any, row: dict[str, Any], layer: str, executable: bool, tmp_path: Path, sandbox: CodeSandbox
) -> None:
    question = only(benchmark.load(path=write(tmp_path / "x.jsonl", row)))
    assert str(CANARY) in str(question.meta["tests"])
    nodes = [Node(id="n0", layer="generator", model="m", params={"samples": 2})]
    for place, name in enumerate(CHAINS[layer], 1):
        params = {"kind": "executable"} if executable and name == "unit_test_generator" else {}
        nodes.append(
            Node(
                id=f"n{place}",
                layer=name,
                model=None if name in ("vote", "example_tests") else "m",
                params=params,
                inputs=(f"n{place - 1}",),
            )
        )
    architecture = Architecture(
        name=None, nodes=tuple(nodes), output=nodes[-1].id, lift=("critic_before", "one_kind_per_stage", "alone")
    )
    stack = Listening()

    async def inner() -> None:
        await executor.run(architecture, question.messages, stack, extractor="code", sandbox=sandbox)
        await stack.stack.aclose()

    asyncio.run(inner())
    assert stack.heard
    assert not [prompt for prompt in stack.heard if str(CANARY) in prompt]


def test_every_layer_is_among_those_that_are_listened_to() -> None:
    assert set(CHAINS) >= set(layer_names())


@pytest.mark.slow
@pytest.mark.skipif(not RECORDED.exists(), reason=f"no recorded data at {RECORDED}; set ARCHON_TEST_DATA")
def test_humaneval_scores_all_recorded_solutions_and_no_empty_body(sandbox: CodeSandbox) -> None:
    benchmark = HumanEval.load(path=RECORDED)
    solutions = {record.data["task_id"]: record.data["canonical_solution"] for record in read_records(RECORDED)}
    questions = [question for split in SPLITS for question in benchmark.splits[split]]

    async def total(answer: Any) -> float:
        scores = await asyncio.gather(*(value(sandbox, each, answer(each.meta["task_id"])) for each in questions))
        return sum(score or 0.0 for score in scores)

    assert len(questions) == 164
    assert asyncio.run(total(solutions.__getitem__)) == 164
    assert asyncio.run(total(lambda _: "")) == 0
