"""A Llama folder read without transformers, which takes seconds to import: what a server needs of a draft.

Only safetensors are read. `specdec.models.load` reads every other folder, and gives tokenizer and special tokens too.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from specdec.errors import SpecDecError
from specdec.files import read_config
from specdec.llama import LeanLlama
from specdec.models import LanguageModel, load

_DEFAULTS = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "rms_norm_eps": 1e-6}


def read_model(folder: str | Path, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """The model of a folder: read here where it is a plain Llama in safetensors, by `specdec.models.load` elsewhere.

    Raises SpecDecError where the folder is missing or does not hold what its config.json says.
    """
    path, raw = Path(folder), read_config(folder)
    rope = raw.get("rope_parameters") or {}
    plain = rope.get("rope_type", "default") == "default" and not raw.get("rope_scaling")
    config = _completed(raw)
    if not (plain and (path / "model.safetensors").is_file() and LeanLlama.fits(config)):
        return load(path, dtype).model
    theta = rope.get("rope_theta") or raw.get("rope_theta") or 10_000.0
    try:
        exponents = torch.arange(0, config.head_dim, 2, dtype=torch.int64).float() / config.head_dim
        return LeanLlama(config, _tensors(path, raw, dtype), 1.0 / theta**exponents, path.name)
    except (KeyError, RuntimeError, AttributeError, TypeError) as error:
        raise SpecDecError(f"the weights at {path} and its config.json do not match ({error})") from None


def _completed(raw: dict[str, Any]) -> Any:
    heads = raw.get("num_attention_heads") or 1
    derived = {
        "num_key_value_heads": raw.get("num_key_value_heads") or heads,
        "head_dim": raw.get("head_dim") or (raw.get("hidden_size") or 0) // heads,
    }
    return SimpleNamespace(**{"model_type": None, **_DEFAULTS, **raw, **derived})


def _tensors(path: Path, raw: dict[str, Any], dtype: torch.dtype) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = {name: tensor.to(dtype) for name, tensor in load_file(path / "model.safetensors").items()}
    except (OSError, SafetensorError) as error:
        raise SpecDecError(f"the weights at {path} cannot be read ({error})") from None
    if raw.get("tie_word_embeddings"):
        found["lm_head.weight"] = found["model.embed_tokens.weight"]
    return found
