"""`python -m specdec bench` on two small model folders, Hugging Face's assisted generation beside our systems."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from specdec import Sampling, SpecDecoder
from specdec.__main__ import main
from specdec.assisted import Assisted
from specdec.head import AcceptanceHead
from specdec.head_config import HeadConfig
from specdec.head_files import save_head
from specdec.stopping import Stopping


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    made = []
    for layers in (2, 1):
        torch.manual_seed(0)
        config = transformers.LlamaConfig(
            vocab_size=40,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=layers,
            num_attention_heads=2,
            max_position_embeddings=256,
            bos_token_id=None,
            eos_token_id=None,
            initializer_range=0.4,
        )
        folder = tmp_path_factory.mktemp(f"layers{layers}")
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
        made.append(str(folder))
    return made[0], made[1]


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": [1, 2, 3]}\n\n{"prompt": [7]}\n{"prompt": [9]}\n')
    return str(file)


def run(folders: Sequence[str], prompts: str, *more: str) -> int:
    pair = ["--target", folders[0], "--draft", folders[1]]
    return main(["bench", *pair, "--prompts", prompts, "--repeats", "1", "--tokens", "6", "--temperature", "0", *more])


def test_assisted_generation_gives_the_same_greedy_text_as_ours(folders: tuple[str, str]) -> None:
    samplings = [Sampling(temperature=0, max_tokens=8)] * 2
    ours = SpecDecoder(*folders, "fixed:3").generate([[1, 2, 3], [7]], samplings)
    theirs = Assisted(*folders).generate([[1, 2, 3], [7]], samplings)
    assert [result.tokens for result in theirs] == [result.tokens for result in ours]


def test_the_command_prints_a_table_and_writes_the_figures(
    folders: tuple[str, str], prompts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out.json"
    systems = ("--policies", "fixed:2", "product", "--limit", "2", "--assisted", "--json", str(file))
    assert run(folders, prompts, *systems) == 0
    printed = capsys.readouterr().out
    (outcome,) = json.loads(file.read_text())["outcomes"]
    assert {line["system"] for line in outcome["lines"]} == {"off", "fixed:2", "product", "hf-assisted"}
    assert all(line["tokens"] == 12 for line in outcome["lines"])
    assert all(f"| {line['system']} |" in printed for line in outcome["lines"])


def test_the_command_says_what_speculation_is_worth_by_batch(
    folders: tuple[str, str], prompts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    width = json.loads((Path(folders[1]) / "config.json").read_text())["hidden_size"]
    save_head(AcceptanceHead(HeadConfig(width, 1, stopping=Stopping(0.5))), tmp_path / "head")
    file = tmp_path / "out.json"
    more = ("--policies", "off", "--head", str(tmp_path / "head"), "--batches", "1", "2", "--json", str(file))
    assert run(folders, prompts, *more) == 0
    assert [point["batch"] for point in json.loads(file.read_text())["batches"]] == [1, 2]
    assert "| 2 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--policies", "magic"), "unknown stop policy 'magic'"),
        (("--head", "/nowhere/head"), "no acceptance head at /nowhere/head"),
        (("--limit", "0"), "--limit must be ≥ 1; got 0"),
        (("--json", "/nowhere/figures.json"), "cannot be written"),
        (("--plot", "picture.xyz"), "ends in .png"),
        (("--repeats", "0"), "repeats must be ≥ 1"),
        (("--batches", "1"), "give --head"),
    ],
)
def test_the_command_names_what_is_wrong(
    more: tuple[str, ...], words: str, folders: tuple[str, str], prompts: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folders, prompts, *more) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_size_that_cannot_be_is_told_before_anything_is_measured(
    folders: tuple[str, str], prompts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_head(AcceptanceHead(HeadConfig(32, 1)), tmp_path / "head")
    assert run(folders, prompts, "--head", str(tmp_path / "head"), "--batches", "0") == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "specdec: --batches needs sizes of at least 1\n")


def test_an_interrupt_keeps_the_figures_there_are(
    folders: tuple[str, str], prompts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    from specdec import bench as module

    measured, turns = module.bench, iter([True, False])

    def interrupted(*given: Any) -> Any:
        if not next(turns):
            raise KeyboardInterrupt
        return measured(*given)

    monkeypatch.setattr(module, "bench", interrupted)
    out = tmp_path / "out.json"
    assert run(folders, prompts, "--policies", "off", "--temperature", "0", "1", "--json", str(out)) == 130
    assert capsys.readouterr().err.endswith("specdec: interrupted\n")
    assert [each["temperature"] for each in json.loads(out.read_text())["outcomes"]] == [0.0]
