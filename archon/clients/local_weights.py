"""Reads a Hugging Face folder: its configuration, and the weights of a `LlamaForCausalLM` in the form `Llama`
computes with.

Only safetensors are read here; no code of the folder is ever run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archon.clients.local_errors import first_line
from archon.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from archon.clients.local_llama import LayerWeights, Llama, Shape, Weights
    from specdec.product import Product


def read_config(folder: Path) -> Mapping[str, Any]:
    """`config.json` of a model folder. Raises ConfigError when the folder is missing or is none."""
    if not folder.is_dir():
        raise ConfigError(
            f"model folder {str(folder)!r} does not exist; give a Hugging Face causal-LM folder or zoo:NAME"
        )
    path = folder / "config.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"model folder {str(folder)!r} has no config.json; give a Hugging Face causal-LM folder"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); fetch the model folder anew") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: a JSON object is needed; fetch the model folder anew")
    return raw


def end_tokens(folder: Path, config: Mapping[str, Any]) -> frozenset[int]:
    """The tokens that end an answer: those of generation_config.json, else of config.json."""
    path = folder / "generation_config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.exists() else None
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); fetch the model folder anew") from None
    found = config.get("eos_token_id") if found is None else found
    return frozenset([found] if isinstance(found, int) else found or ())


def is_plain_llama(config: Mapping[str, Any]) -> bool:
    """Whether `Llama` computes this configuration exactly; everything else goes through transformers."""
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    return (
        config.get("architectures") == ["LlamaForCausalLM"]
        and config.get("hidden_act", "silu") == "silu"
        and not config.get("attention_bias")
        and not config.get("mlp_bias")
        and not config.get("quantization_config")
        and scaling.get("rope_type", scaling.get("type", "default")) == "default"
        and not {"partial_rotary_factor"} & {key for key, value in scaling.items() if value != 1.0}
    )


def load_llama(folder: Path, config: Mapping[str, Any], dtype: torch.dtype) -> Llama:
    """The model of a folder for which `is_plain_llama` holds, computing in `dtype`.

    Raises:
        ConfigError: a weight is missing or of another shape than the configuration says, or a file is corrupt.
    """
    from archon.clients.local_llama import Llama

    tensors = _tensors(folder)
    try:
        shape = _shape(config, tensors)
        model = Llama(shape, _fused(tensors, shape, config, dtype))
    except (KeyError, RuntimeError, TypeError) as error:
        raise ConfigError(
            f"model folder {str(folder)!r}: weights and config.json do not match ({first_line(error)})"
        ) from None
    return model


def has_safetensors(folder: Path) -> bool:
    """Whether the weights lie there in the safe form."""
    return any((folder / name).exists() for name in ("model.safetensors", "model.safetensors.index.json"))


def _tensors(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    index = folder / "model.safetensors.index.json"
    try:
        names = set(json.loads(index.read_text())["weight_map"].values()) if index.exists() else {"model.safetensors"}
        found: dict[str, Tensor] = {}
        for name in sorted(names):
            found |= load_file(folder / Path(name).name)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ConfigError(f"model folder {str(folder)!r}: weights cannot be read ({error}); fetch it anew") from None
    return found


def _shape(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Shape:
    from archon.clients.local_llama import Shape

    heads = config["num_attention_heads"]
    rope = config.get("rope_parameters") or {}
    return Shape(
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        # What the products have, not what the configuration says they have.
        inner=len(tensors["model.layers.0.mlp.gate_proj.weight"]),
        words=len(_head(tensors, config)),
        context=config.get("max_position_embeddings", 2048),
        epsilon=config.get("rms_norm_eps", 1e-6),
        theta=config.get("rope_theta") or rope.get("rope_theta") or 10_000.0,
    )


def _fused(tensors: Mapping[str, Tensor], shape: Shape, config: Mapping[str, Any], dtype: torch.dtype) -> Weights:
    from archon.clients.local_llama import Weights

    embedding, head = tensors["model.embed_tokens.weight"], _head(tensors, config)
    layers = tuple(_layer(tensors, f"model.layers.{i}.", shape, dtype) for i in range(shape.layers))
    return Weights(embedding.to(dtype), layers, *_after_norm(_exact(head), tensors["model.norm.weight"], dtype))


def _head(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> Tensor:
    return tensors["model.embed_tokens.weight" if config.get("tie_word_embeddings") else "lm_head.weight"]


def _layer(tensors: Mapping[str, Tensor], prefix: str, shape: Shape, dtype: torch.dtype) -> LayerWeights:
    import torch

    from archon.clients.local_llama import LayerWeights
    from specdec.product import product

    def weight(name: str) -> Tensor:
        return tensors[f"{prefix}{name}.weight"]

    def plain(name: str) -> Product:
        return product(weight(name).to(dtype).t(), large=False)

    width, kv_width = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    rows = (("q", width), ("k", kv_width), ("v", kv_width))
    qkv = torch.cat([_exact(weight(f"self_attn.{name}_proj")).view(size, -1) for name, size in rows])
    gate_up = torch.cat([_exact(weight(f"mlp.{name}_proj")) for name in ("gate", "up")])
    return LayerWeights(
        *_after_norm(qkv, weight("input_layernorm"), dtype),
        plain("self_attn.o_proj"),
        *_after_norm(gate_up, weight("post_attention_layernorm"), dtype),
        plain("mlp.down_proj"),
    )


def _after_norm(weight: Tensor, gain: Tensor, dtype: torch.dtype) -> tuple[Tensor | None, Product]:
    """The gain that the norm has to apply, √width in it, and the product after it: folded into the matrix it costs
    nothing, but what float16 held exactly it would hold no more."""
    from specdec.halves import Halves
    from specdec.product import Floats

    gain = _exact(gain) * len(gain) ** 0.5
    halves = Halves.of(weight.to(dtype).t())
    if halves is not None:
        return (gain * halves.unit).to(dtype), halves
    return None, Floats((weight * gain).to(dtype).t(), large=False)


def _exact(tensor: Tensor) -> Tensor:
    import torch

    return tensor.to(torch.float64)
