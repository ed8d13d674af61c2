"""Benchmarks that read a file: what they read, how they deal it, and what they say of a file that is wrong."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.errors import ConfigError
from archon.evals.benchmarks.base import SPLITS, QuestionSet
from archon.evals.benchmarks.gsm8k import Gsm8k
from archon.evals.benchmarks.jsonl import Jsonl
from archon.evals.benchmarks.math import INSTRUCTION, Math
from archon.evals.benchmarks.splits import UPPER_BOUNDS, deal
from archon.evals.scorers import ExactScorer, MathScorer
from archon.protocols import Benchmark
from archon.types import Question, Split, user

DATA = Path(os.environ.get("ARCHON_TEST_DATA", "../shared/data"))


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def rows(count: int) -> list[dict[str, Any]]:
    return [{"question": f"{i} + 1 = ?", "answer": f"so #### {i + 1}", "hint": i} for i in range(count)]


def by_text(benchmark: QuestionSet) -> dict[str, Split]:
    return {q.text: split for split in SPLITS for q in benchmark.splits[split]}


def test_gsm8k_reads_the_final_number(tmp_path: Path) -> None:
    benchmark = Gsm8k.load(path=write(tmp_path / "x.jsonl", [{"question": "?", "answer": "9 * 2 = $18\n#### 1,018"}]))
    (question,) = (q for split in SPLITS for q in benchmark.splits[split])
    assert question.reference == "1018"
    assert isinstance(benchmark, Benchmark)
    assert (benchmark.name, benchmark.extractor, benchmark.scorer) == ("gsm8k", "number", ExactScorer("number"))


def test_a_gzipped_file_is_the_same_benchmark(tmp_path: Path) -> None:
    plain = Gsm8k.load(path=write(tmp_path / "x.jsonl", rows(40)))
    packed = Gsm8k.load(path=str(write(tmp_path / "x.jsonl.gz", rows(40))))
    assert plain.splits == packed.splits
    assert plain.fingerprint() == packed.fingerprint()


def test_the_fingerprint_changes_with_any_reference(tmp_path: Path) -> None:
    changed = rows(40)
    changed[7]["answer"] = "#### 99"
    first, second = (Gsm8k.load(path=write(tmp_path / f"{i}.jsonl", r)) for i, r in enumerate((rows(40), changed)))
    assert first.fingerprint() != second.fingerprint()


def test_the_fingerprint_changes_with_the_reading_of_answers(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", rows(40))
    assert Jsonl.load(path=path, answers="text").fingerprint() != Jsonl.load(path=path, answers="math").fingerprint()


def test_more_questions_move_none_to_another_split(tmp_path: Path) -> None:
    before = by_text(Jsonl.load(path=write(tmp_path / "a.jsonl", rows(80))))
    after = by_text(Jsonl.load(path=write(tmp_path / "b.jsonl", list(reversed(rows(300))))))
    assert len(before) == 80
    assert all(after[text] == split for text, split in before.items())


def test_neither_sizes_nor_instructions_move_a_question(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", rows(300))
    whole = Jsonl.load(path=path)
    small = Jsonl.load(path=path, search=10, selection=20, held_out=30, instruction="Be brief.")
    for split, size in zip(SPLITS, (10, 20, 30), strict=True):
        ids = [q.id for q in small.questions(split)]
        assert ids == [q.id for q in whole.questions(split)][:size]
    assert small.questions("search")[0].text.endswith("= ?\n\nBe brief.")


def test_another_seed_deals_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", rows(200))
    assert by_text(Jsonl.load(path=path, seed=1)) != by_text(Jsonl.load(path=path, seed=2))


@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=60), st.integers(0, 5))
def test_splits_are_disjoint_and_lose_nothing(numbers: set[int], seed: int) -> None:
    questions = [Question(str(n), (user(str(n)),)) for n in numbers]
    dealt = deal(questions, seed)
    ids = [q.id for split in SPLITS for q in dealt[split]]
    assert sorted(ids) == sorted(q.id for q in questions)


def test_shares_are_as_stated() -> None:
    """4,000 questions: 15 %, 25 %, 60 %, each within 4 standard errors (.8 · 4 = 3 points at most)."""
    dealt = deal([Question(str(n), (user(str(n)),)) for n in range(4000)], 0)
    bounds = [0.0, *UPPER_BOUNDS.values()]
    for split, low, high in zip(SPLITS, bounds, bounds[1:], strict=False):
        assert len(dealt[split]) / 4000 == pytest.approx(high - low, abs=0.03)


def test_a_limit_bounds_every_split(tmp_path: Path) -> None:
    benchmark = Jsonl.load(path=write(tmp_path / "a.jsonl", rows(200)), limit=5, held_out=3)
    assert [len(benchmark.questions(split)) for split in SPLITS] == [5, 5, 3]


def test_jsonl_takes_a_split_field_at_its_word(tmp_path: Path) -> None:
    given = [{**row, "split": SPLITS[i % 3]} for i, row in enumerate(rows(9))]
    benchmark = Jsonl.load(path=write(tmp_path / "a.jsonl", given))
    assert [q.text for q in benchmark.questions("selection")] == ["1 + 1 = ?", "4 + 1 = ?", "7 + 1 = ?"]


def test_jsonl_reads_conversations_and_other_field_names(tmp_path: Path) -> None:
    conversation = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "?"}]},
    ]
    path = write(tmp_path / "a.jsonl", [{"messages": conversation, "label": "Yes", "split": "search", "level": 3}])
    benchmark = Jsonl.load(path=path, answer_field="label", instruction="Say yes or no.")
    (question,) = benchmark.questions("search")
    assert [message.role for message in question.messages] == ["system", "user"]
    assert question.text == "?\nSay yes or no."
    assert question.reference == "Yes"
    assert question.meta == {"level": 3}


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (["5", "-1,200", "$3.50", "1/3", "20%"], "number"),
        (["1 2 3"], "text"),
        (["2020-01-02"], "text"),
        ([5, 2.5], "number"),
        (["A", "E"], "choice"),
        (["5 apples", "6"], "text"),
        (["yes", "no"], "text"),
    ],
)
def test_the_kind_of_answers_is_found(tmp_path: Path, answers: list[Any], kind: str) -> None:
    given = [{"question": f"q{i}", "answer": answer} for i, answer in enumerate(answers)]
    assert Jsonl.load(path=write(tmp_path / "a.jsonl", given)).extractor == kind


def test_the_kind_of_answers_may_be_stated(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"question": "q", "answer": "5"}])
    assert isinstance(Jsonl.load(path=path, answers="math").scorer, MathScorer)
    assert Jsonl.load(path=path, answers="text").scorer == ExactScorer("text")


def test_math_takes_the_answer_or_the_solutions_box(tmp_path: Path) -> None:
    given: list[dict[str, Any]] = [
        {"problem": "p", "answer": r"\dfrac12", "level": 5},
        {"question": "q", "solution": r"so $\boxed{\frac{\sqrt6}3}$."},
    ]
    benchmark = Math.load(path=write(tmp_path / "a.jsonl", given))
    found = {q.text: q for split in SPLITS for q in benchmark.splits[split]}
    assert found[f"p\n\n{INSTRUCTION}"].reference == "0.5"
    assert found[f"p\n\n{INSTRUCTION}"].meta == {"level": 5}
    assert found[f"q\n\n{INSTRUCTION}"].reference == r"\frac{\sqrt{6}}{3}"


Load = Callable[..., QuestionSet]


@pytest.mark.parametrize("load", [Gsm8k.load, Jsonl.load, Math.load])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no question"),
        ("\n \n", "holds no question"),
        ('{"question": "a", "answer": "#### 1"}\n\n{"question": "b"}\n', "jsonl:3: field 'answer' is missing"),
        ('{"answer": "#### 1"}\n', "jsonl:1: field 'question' is missing (fields here: answer)"),
        ('{"question": "a", "answer": null}\n', "jsonl:1: field 'answer' must be text or a number, got None"),
        ('{"question": " ", "answer": "1"}\n', "jsonl:1: field 'question' must be text"),
        ('{"question": "a", "answer": "#### 1"}\n{"question"\n', "jsonl:2: not JSON"),
        ('["a", "b"]\n', "jsonl:1: a JSON object is needed, got list"),
        ("[" * 100_000 + "\n", "jsonl:1: not JSON"),
        ('{"question": "a", "answer": "#### 1"}\n' * 2, "jsonl:2: the same question as"),
    ],
)
def test_a_wrong_file_is_told_in_one_line_with_its_line(tmp_path: Path, load: Load, content: str, said: str) -> None:
    path = tmp_path / "wrong.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path=path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_questions_of_the_same_words_are_one_question_to_jsonl_whatever_their_white_space(tmp_path: Path) -> None:
    given = [{"question": "Two  and\ntwo?", "answer": "4"}, {"question": "Two and two? ", "answer": "4"}]
    with pytest.raises(ConfigError, match=r"jsonl:2: the same question as .*jsonl:1"):
        Jsonl.load(path=write(tmp_path / "a.jsonl", given))
    pictures = [{"messages": [{"role": "user", "content": [
        {"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": f"http://h/{name}.png"}}
    ]}], "answer": name} for name in ("cat", "dog")]  # fmt: skip
    benchmark = Jsonl.load(path=write(tmp_path / "b.jsonl", pictures))
    assert sum(len(members) for members in benchmark.splits.values()) == 2


@pytest.mark.parametrize("load", [Gsm8k.load, Jsonl.load, Math.load])
def test_a_path_that_leads_nowhere_is_told(tmp_path: Path, load: Load) -> None:
    (tmp_path / "torn.gz").write_bytes(gzip.compress(b"{}" * 1000)[:-9])
    (tmp_path / "plain.gz").write_bytes(b"{}")
    (tmp_path / "latin.jsonl").write_bytes(b'{"question": "\xe9"}')
    for name, said in (
        ("none.jsonl", "no such file"),
        ("", "cannot be read"),
        ("torn.gz", "not a whole gzip file"),
        ("plain.gz", "not a whole gzip file"),
        ("latin.jsonl", "not UTF-8"),
    ):
        with pytest.raises(ConfigError, match=said):
            load(path=tmp_path / name)
    with pytest.raises(ConfigError, match=r"needs the option 'path' \(--data\): the path of"):
        load()


def test_options_that_are_wrong_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", rows(10))
    with pytest.raises(ConfigError, match="Did you mean 'search'"):
        Gsm8k.load(path=path, serch=3)
    with pytest.raises(ConfigError, match=r"option 'held_out': .* got 'many'"):
        Gsm8k.load(path=path, held_out="many")
    with pytest.raises(ConfigError, match="500 questions asked for split 'search'"):
        Gsm8k.load(path=path, search=500)


def test_a_split_without_questions_is_told_when_it_is_asked_for(tmp_path: Path) -> None:
    benchmark = Jsonl.load(path=write(tmp_path / "a.jsonl", [{"question": "q", "answer": "5", "split": "search"}]))
    assert len(benchmark.questions("search")) == 1
    with pytest.raises(ConfigError, match=r"is in split 'held_out' \(search 1, selection 0, held_out 0\)"):
        benchmark.questions("held_out")
    with pytest.raises(ConfigError, match="unknown split 'test'"):
        benchmark.questions("test")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "a", "answer": "1", "split": "train"}, "field 'split' is 'train'"),
        ({"question": "a", "answer": "1"}, "field 'split' is missing, though other lines have it"),
        ({"messages": [], "answer": "1", "split": "search"}, "'messages' must be a list"),
        ({"messages": [{"role": "user"}], "answer": "1", "split": "search"}, "'messages' must be a list"),
    ],
)
def test_jsonl_explains_its_own_fields(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    path = write(tmp_path / "a.jsonl", [{"question": "first", "answer": "1", "split": "search"}, row])
    with pytest.raises(ConfigError, match=f"a.jsonl:2: {said}"):
        Jsonl.load(path=path)


def test_answers_without_an_answer_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"x.jsonl:1: field 'answer' ends in no number"):
        Gsm8k.load(path=write(tmp_path / "x.jsonl", [{"question": "a", "answer": "who knows"}]))
    with pytest.raises(ConfigError, match=r"x.jsonl:1: no answer"):
        Math.load(path=write(tmp_path / "x.jsonl", [{"problem": "a", "solution": "who knows"}]))


@pytest.mark.skipif(not (DATA / "gsm8k/test.jsonl.gz").exists(), reason=f"no GSM8K questions under {DATA}")
def test_the_real_gsm8k_is_read_whole() -> None:
    benchmark = Gsm8k.load(path=DATA / "gsm8k/test.jsonl.gz", search=None)
    assert len(benchmark.questions("search")) == 120
    assert len(benchmark.questions("held_out")) == 600
    assert all(q.reference for split in SPLITS for q in benchmark.questions(split))
