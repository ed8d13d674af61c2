"""Recorded answers: looked up, never made up."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from archon.clients.replay import ReplayClient
from archon.clients.stack import ClientStack
from archon.errors import ConfigError, MissingExtraError, RequestError
from archon.models import ModelSpec, ModelTable
from archon.types import Request, system, user

ROWS = [
    {"question": "1+1?", "model": "a", "sample": 0, "answer": "2"},
    {"question": "1+1?", "model": "a", "sample": 1, "answer": "two", "completion_tokens": 9, "seconds": 0.5},
    {"question": "1+1?", "model": "b", "sample": 0, "answer": None},
    {"question": " 2+2? ", "model": "b", "sample": 0, "answer": "4", "finish_reason": "length"},
]


def recorded(folder: Path, rows: list[dict[str, Any]] = ROWS, **options: Any) -> dict[str, Any]:
    path = folder / "recorded.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"path": str(path), **options}


def replay(options: dict[str, Any], name: str = "a", **row: Any) -> ReplayClient:
    return ReplayClient.from_spec(ModelSpec(id=name, client="replay", options=options, **row))


def ask(text: str, sample: int = 0) -> Request:
    return Request((system("be brief"), user(text)), sample=sample)


async def test_the_answer_of_question_model_and_sample_is_given(tmp_path: Path) -> None:
    options = recorded(tmp_path)
    first, second = replay(options), replay(options, "b")
    assert [(await first.complete(ask("1+1?", n))).text for n in (0, 1)] == ["2", "two"]
    got = await second.complete(ask("2+2?"))  # spaces around a question say nothing
    assert (got.text, got.finish_reason) == ("4", "length")


async def test_recorded_tokens_are_used_and_missing_ones_estimated(tmp_path: Path) -> None:
    client = replay(recorded(tmp_path), price={"prompt": 1, "completion": 10})
    usage = (await client.complete(ask("1+1?", 1))).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.seconds) == (1, 9, 0.5)  # 4 characters make a token
    assert usage.cost_usd == pytest.approx(91e-6)
    assert (await replay(recorded(tmp_path)).complete(ask("1+1?"))).usage.cost_usd is None


@pytest.mark.parametrize(("name", "text", "sample"), [("a", "3+3?", 0), ("a", "1+1?", 2), ("b", "1+1?", 0)])
async def test_what_is_not_recorded_is_an_error(tmp_path: Path, name: str, text: str, sample: int) -> None:
    client = replay(recorded(tmp_path), name)
    with pytest.raises(RequestError, match=f"no answer is recorded for sample {sample}"):
        await client.complete(ask(text, sample))
    with pytest.raises(RequestError):
        [chunk async for chunk in client.stream(ask(text, sample))]


async def test_columns_form_names_and_line_numbers_name_questions(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "questions.jsonl.gz", "wt") as file:
        file.write('{"text": "one?"}\n{"text": "two?"}\n')
    rows = [{"q": 1, "who": "m", "temperature": 0.0, "set": None, "said": "2"}]
    options = recorded(
        tmp_path,
        rows,
        question="q",
        questions=str(tmp_path / "questions.jsonl.gz"),
        questions_field="text",
        model=["who", "temperature", "set"],
        separator="|",
        answer="said",
    )
    assert (await replay(options, "m|0|-").complete(ask("two?"))).text == "2"


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (ROWS, {}, "no answers of 'zzz'; it has: a, b"),
        (ROWS, {"answer": "anwser"}, "'anwser'; it has question, model, sample, answer"),
        ([*ROWS, ROWS[0]], {}, "sample 0 of a question is recorded twice for 'a'"),
        ([{**ROWS[0], "sample": "x"}], {}, "row 0: invalid literal"),
        (ROWS, {"path": "/no/such/file.jsonl"}, "no such file"),
        (ROWS, {"path": "/no/such/file.parquet"}, "no such file"),
        (ROWS, {"questions": "/no/such/file.jsonl"}, "no such file"),
        (ROWS, {"columns": 3}, "unknown option 'columns'"),
    ],
)
def test_a_wrong_recording_is_one_line(
    tmp_path: Path, rows: list[dict[str, Any]], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as wrong:
        replay({**recorded(tmp_path, rows), **options}, "zzz")
    assert words in str(wrong.value)
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize("content", ["{", "[1]", "\x00"])
def test_a_file_of_another_kind_is_one_line(tmp_path: Path, content: str) -> None:
    for name in ("x.jsonl", "x.parquet"):
        (tmp_path / name).write_text(content)
        with pytest.raises(ConfigError, match=name):
            replay({"path": str(tmp_path / name)})


def test_questions_without_the_field_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(ConfigError, match="has no 'question'"):
        replay(recorded(tmp_path, questions=str(tmp_path / "q.jsonl")))


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"\[data\]"):
        replay({"path": str(tmp_path / "x.parquet")})


async def test_models_of_one_file_share_one_index(tmp_path: Path) -> None:
    options = recorded(tmp_path)
    table = ModelTable([ModelSpec(id=name, client="replay", options=options) for name in ("a", "b")])
    async with ClientStack(table) as stack:
        stack.open("a")
        os.remove(options["path"])  # noqa: PTH107 - a Path here would be the blocking call it is
        assert (await stack.open("b").complete(ask("2+2?"))).text == "4"


DATA = Path(os.environ.get("ARCHON_TEST_DATA", "../shared/data"))


@pytest.mark.skipif(not (DATA / "gsm8k").exists(), reason=f"no recorded data in {DATA} (ARCHON_TEST_DATA)")
async def test_recorded_gsm8k_answers_are_found_by_their_questions() -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    options = {
        "path": str(DATA / "gsm8k" / "recorded.parquet"),
        "question": "q",
        "questions": str(DATA / "gsm8k" / "test.jsonl.gz"),
        "model": ["source", "model", "strategy"],
        "answer": "text",
    }
    names = ["Re2/gpt-4o-mini/cot", "openai-gsm/gpt3-6b/finetuning"]
    table = ModelTable([ModelSpec(id=name, client="replay", options=options) for name in names])
    with gzip.open(DATA / "gsm8k" / "test.jsonl.gz", "rt") as lines:
        questions = [json.loads(line)["question"] for line in lines]
    async with ClientStack(table) as stack:
        clients = [stack.open(name) for name in names]
        answers = [[(await client.complete(Request((user(text),)))).text for text in questions] for client in clients]
    assert [len(each) for each in answers] == [1319, 1319]
    assert answers[0][1].endswith(r"\(\boxed{3}\).") or "3" in answers[0][1]
    assert answers[0] != answers[1]
