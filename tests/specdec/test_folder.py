"""Folders read without transformers give the same model; what is wrong with one is a line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from specdec import SpecDecError
from specdec.files import check_head, check_vocabulary
from specdec.folder import read_model
from specdec.head import AcceptanceHead
from specdec.head_config import HeadConfig
from specdec.head_files import save_head
from specdec.llama import LeanLlama
from specdec.models import LanguageModel, feed, load
from specdec.transformers_model import TransformersModel
from tests.specdec.test_models import LLAMA3_ROPE, llama, qwen


def logits(model: LanguageModel) -> torch.Tensor:
    with torch.inference_mode():
        cache = model.new_cache()
        return model.logits(feed(model, cache, [cache.add_row()], [[3, 5, 7, 9]]))


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": True}, {"rope_parameters": LLAMA3_ROPE}])
def test_a_folder_read_here_is_the_model_transformers_reads(tmp_path: Path, changes: dict[str, Any]) -> None:
    llama(**changes).save_pretrained(tmp_path)
    mine = read_model(tmp_path)
    assert isinstance(mine, LeanLlama)
    assert torch.equal(logits(mine), logits(load(tmp_path).model))


def test_other_architectures_are_read_by_transformers(tmp_path: Path) -> None:
    qwen().save_pretrained(tmp_path)
    assert isinstance(read_model(tmp_path), TransformersModel)


def test_reading_a_llama_imports_no_transformers(tmp_path: Path) -> None:
    llama().save_pretrained(tmp_path)
    code = (
        "import sys; from specdec import folder as f; f.read_model(sys.argv[1]); print('transformers' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "False"


def test_what_is_wrong_with_a_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpecDecError, match="no model at"):
        read_model(tmp_path)
    llama().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 5}))
    with pytest.raises(SpecDecError, match="do not match"):
        read_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(SpecDecError, match="cannot be read"):
        read_model(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(SpecDecError, match="no JSON object"):
        read_model(tmp_path)


def test_vocabularies_are_compared_by_size_and_by_name(tmp_path: Path) -> None:
    for name, size, words in (("a", 9, ["x", "y"]), ("b", 9, ["x", "y"]), ("c", 9, ["x", "z"]), ("d", 8, ["x", "y"])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"vocab_size": size}))
        vocab = {"model": {"vocab": {word: index for index, word in enumerate(words)}}}
        (tmp_path / name / "tokenizer.json").write_text(json.dumps(vocab))
    check_vocabulary(tmp_path / "a", tmp_path / "b")
    with pytest.raises(SpecDecError, match="name their tokens differently"):
        check_vocabulary(tmp_path / "a", tmp_path / "c")
    with pytest.raises(SpecDecError, match="a has 9 tokens and draft d 8"):
        check_vocabulary(tmp_path / "a", tmp_path / "d")
    (tmp_path / "c" / "tokenizer.json").unlink()
    check_vocabulary(tmp_path / "a", tmp_path / "c")


def test_a_head_is_checked_by_its_small_file(tmp_path: Path) -> None:
    llama().save_pretrained(tmp_path / "draft")
    with pytest.raises(SpecDecError, match="no acceptance head"):
        check_head(tmp_path / "head", tmp_path / "draft")
    save_head(AcceptanceHead(HeadConfig(32, 1)), tmp_path / "head")
    check_head(tmp_path / "head", tmp_path / "draft")
    save_head(AcceptanceHead(HeadConfig(31, 1)), tmp_path / "head")
    with pytest.raises(SpecDecError, match="hidden state of 31 and draft draft has 32"):
        check_head(tmp_path / "head", tmp_path / "draft")
