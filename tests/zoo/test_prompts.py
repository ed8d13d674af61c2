"""Prompts for heads and benches: of the split asked for, reproducible, readable by `specdec`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from archon import zoo
from archon.zoo.ledger import split_of
from archon.zoo.prompts import prompts, write
from archon.zoo.vocabulary import Vocabulary
from specdec.prompts import read_prompts

MODEL = "clerk"
pytestmark = pytest.mark.skipif(MODEL not in zoo.names(), reason="the zoo's models are not here")


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.load(zoo.path(MODEL))


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_every_question_is_of_its_split(vocabulary: Vocabulary, split: str) -> None:
    for line in prompts(vocabulary, 30, split=split, roles=["solve"]):  # type: ignore[arg-type]
        # The first token names the role, the last asks for the answer.
        assert split_of(vocabulary.decode(line["prompt"][1:-1])) == split


def test_all_roles_and_families_appear_and_solving_is_half(vocabulary: Vocabulary) -> None:
    found = list(prompts(vocabulary, 400, families=["ledger", "minicode"]))
    assert {line["family"] for line in found} == {"ledger", "minicode"}
    assert len({line["role"] for line in found}) == 9
    # Half and a ninth or an eighth of the rest; far from both edges.
    assert 200 < sum(line["role"] == "solve" for line in found) < 300
    assert all(len(line["prompt"]) <= 700 for line in found)


def test_the_same_arguments_give_the_same_prompts_and_more_extend_them(vocabulary: Vocabulary) -> None:
    some, more = (list(prompts(vocabulary, count, seed=3)) for count in (5, 9))
    assert some == more[:5]
    assert some != list(prompts(vocabulary, 5, seed=4))


def test_a_family_without_any_of_the_roles_is_refused(vocabulary: Vocabulary) -> None:
    with pytest.raises(ValueError, match="minicode has the roles"):
        next(prompts(vocabulary, 1, families=["ledger", "minicode"], roles=["judge_tests"]))


def test_specdec_reads_what_is_written(vocabulary: Vocabulary, tmp_path: Path) -> None:
    lines = list(prompts(vocabulary, 4))
    assert write(iter(lines), tmp_path / "some.jsonl") == 4
    assert read_prompts(tmp_path / "some.jsonl") == [line["prompt"] for line in lines]


def test_the_command_writes_the_file(tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    command = [sys.executable, "-m", "archon.zoo.prompts", "--model", MODEL, "--count", "3", "--out", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "3 prompts" in done.stdout
    assert [json.loads(line)["split"] for line in file.read_text().splitlines()] == ["train"] * 3
