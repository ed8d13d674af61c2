"""The deep target of the bench is the small one, grown: it costs more and says the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench.specdec_pairs import grown, pairs
from specdec.folder import read_model
from specdec.models import feed, load
from tests.specdec.test_models import llama


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    model = llama(tie_word_embeddings=True)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("layers", [2, 3, 5])
def test_growth_keeps_the_function(small: Path, tmp_path: Path, layers: int) -> None:
    deep = grown(small, tmp_path, layers)
    lines = []
    for folder in (small, deep):
        model = load(folder, torch.float64).model
        with torch.inference_mode():
            cache = model.new_cache()
            lines.append(model.logits(feed(model, cache, [cache.add_row()], [[5, 6, 7, 8, 9]])))
    assert torch.allclose(lines[0], lines[1], atol=1e-9)


def test_growth_doubles_the_width_and_adds_layers_that_are_silent(small: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    before, after = (json.loads((f / "config.json").read_text()) for f in (small, grown(small, tmp_path, 4)))
    for name in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"):
        assert after[name] == 2 * before[name]
    assert (after["num_hidden_layers"], after["head_dim"]) == (4, before["head_dim"])
    tensors = load_file(tmp_path / "model.safetensors")
    silent = [bool((tensors[f"model.layers.{i}.mlp.down_proj.weight"] == 0).all()) for i in range(4)]
    assert silent == [False, True, False, True]


def test_both_pairs_share_their_draft(small: Path, tmp_path: Path) -> None:
    found = pairs(tmp_path, target=small, draft=small)
    assert found["zoo"].draft == found["deep"].draft
    assert read_model(found["deep"].target).width == 2 * read_model(found["zoo"].target).width
