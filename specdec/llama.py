"""A Llama forward pass with little overhead: the same numbers as transformers' `LlamaForCausalLM`, a third of its
operations.

For small models the time of a step is the time of launching operations, so the weights are prepared once: queries,
keys and values are one product, gate and up another; the norms' gains are folded into the product that follows; each
head's rotary halves are interleaved, so that the rotation is one complex multiplication (attention only sees q·k,
which no permutation changes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from specdec.attention import attend
from specdec.cache import KVCache, Span
from specdec.product import SMALL, Product

_STATIC_ROPE = ("default", "linear", "llama3")
_KEPT = 64
"""Tokens of a pass up to which the room it takes is kept for the next."""


@dataclass(frozen=True, slots=True)
class Block:
    """One layer's matrices."""

    qkv: Product
    out: Product
    gate_up: Product
    down: Product


class Room(NamedTuple):
    """Where a layer puts what it computes, and views of that: what is made once need not be made by every layer.

    qkv: queries, keys and values side by side. turned: queries and keys as complex numbers. queries: [n, heads, width,
    head_dim]. fresh: keys and values, [n·width, 2, kv_heads, head_dim]. inner: gate and up side by side.
    """

    qkv: Tensor
    turned: Tensor
    queries: Tensor
    fresh: Tensor
    inner: Tensor
    gate: Tensor
    up: Tensor


class LeanLlama:
    """A causal language model (see `specdec.models.LanguageModel`) in float32 or float64, made from a loaded Llama."""

    @staticmethod
    def fits(config: Any) -> bool:
        """Whether this file computes the model of `config` exactly; others run through transformers."""
        rope = getattr(config, "rope_parameters", None) or {}
        return (
            config.model_type == "llama"
            and config.hidden_act == "silu"
            and not config.attention_bias
            and not config.mlp_bias
            and rope.get("rope_type", "default") in _STATIC_ROPE
        )

    def __init__(self, config: Any, tensors: Mapping[str, Tensor], frequencies: Tensor, name: str) -> None:
        """config: of transformers. tensors: its weights by their names there. frequencies: of the rotation, float32
        [head_dim/2]."""
        unembed = tensors["lm_head.weight"]
        self.name, self.vocab, self.width = name, int(config.vocab_size), int(config.hidden_size)
        self.context, self.dtype, self.device = int(config.max_position_embeddings), unembed.dtype, unembed.device
        self._heads, self._kv_heads = int(config.num_attention_heads), int(config.num_key_value_heads)
        self._dim, self._inner = int(config.head_dim), int(config.intermediate_size)
        self._frequencies, self._rotations = frequencies.float(), torch.empty(0, device=self.device)
        self._large = sum(tensor.nbytes for name, tensor in tensors.items() if ".layers." in name) > SMALL
        with torch.no_grad():
            self._embedding: Tensor = tensors["model.embed_tokens.weight"].detach()
            self._blocks = [self._prepare(tensors, f"model.layers.{i}.") for i in range(config.num_hidden_layers)]
            self._gain: Tensor = tensors["model.norm.weight"].detach() * self.width**0.5
            self._unembed: Tensor = unembed.detach().t()
        # ‖x‖ and this constant under one root give the norm's ε exactly: √(Σx² + width·ε).
        self._floor = torch.tensor((self.width * config.rms_norm_eps) ** 0.5, dtype=self.dtype, device=self.device)

    @classmethod
    def of(cls, model: Any, name: str) -> LeanLlama:
        """From a `LlamaForCausalLM` in memory."""
        return cls(model.config, model.state_dict(), model.model.rotary_emb.inv_freq, name)

    def new_cache(self) -> KVCache:
        return KVCache(len(self._blocks), self._kv_heads, self._dim, self.dtype, self.device, apart=True)

    def hidden(self, ids: Tensor, span: Span) -> Tensor:
        """The last hidden state after the final norm. ids: int64 [n·width] → [n·width, hidden]."""
        x = F.embedding(ids, self._embedding)
        rotation, room = self._rotation(span), self._room(span)
        for layer, block in enumerate(self._blocks):
            self._layer(x, layer, block, span, rotation, room)
        return self._normed(x) * self._gain

    def logits(self, hidden: Tensor) -> Tensor:
        """[n, hidden] → [n, vocab]."""
        return torch.mm(hidden, self._unembed)

    def _layer(self, x: Tensor, layer: int, block: Block, span: Span, rotation: Tensor, room: Room) -> None:
        """Add the layer's two parts to x."""
        block.qkv.into(self._normed(x), room.qkv)
        room.turned.mul_(rotation)
        keys, values = span.store(layer, room.fresh)
        mixed = attend(room.queries, keys, values, span, grouped=self._heads != self._kv_heads)
        block.out.add_to(x, mixed.transpose(1, 2).reshape(-1, self._heads * self._dim))
        block.gate_up.into(self._normed(x), room.inner)
        block.down.add_to(x, F.silu(room.gate, inplace=True).mul_(room.up))

    def _room(self, span: Span) -> Room:
        """Used by the layers in turn, and by later passes of one shape where it is small."""
        shape = (span.rows, span.width)
        found: Room = span.scratch.get(shape) or self._new_room(*shape)
        if span.rows * span.width <= _KEPT:
            span.scratch[shape] = found
        return found

    def _new_room(self, rows: int, width: int) -> Room:
        rotated, count = self._heads + self._kv_heads, rows * width
        qkv = self._embedding.new_empty(count, (rotated + self._kv_heads) * self._dim)
        inner = self._embedding.new_empty(count, 2 * self._inner)
        pairs = qkv.view(count, -1, self._dim // 2, 2)[:, :rotated]
        queries, fresh = qkv.tensor_split([self._heads * self._dim], dim=-1)
        heads = queries.view(rows, width, self._heads, self._dim).transpose(1, 2)
        fresh = fresh.view(count, 2, self._kv_heads, self._dim)
        return Room(qkv, torch.view_as_complex(pairs), heads, fresh, inner, *inner.chunk(2, dim=-1))

    def _normed(self, x: Tensor) -> Tensor:
        """x/√(Σx² + width·ε); the factor √width and the gain are in the matrix that follows."""
        norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return x / norm.hypot_(self._floor)

    def _rotation(self, span: Span) -> Tensor:
        """e^{i·position·frequency}, complex [n·width, 1, head_dim/2], in the precision transformers computes it in."""
        if span.keys > self._rotations.shape[0]:
            positions = torch.arange(max(64, 2 * span.keys), device=self.device).float()
            angles = torch.outer(positions, self._frequencies)
            turns = torch.complex(angles.cos().to(self.dtype), angles.sin().to(self.dtype))
            self._rotations = turns.unsqueeze(1)
        one = span.at is None
        return self._rotations[span.keys - span.width : span.keys] if one else self._rotations[span.positions]

    def _prepare(self, tensors: Mapping[str, Tensor], prefix: str) -> Block:
        def weight(name: str) -> Tensor:
            return tensors[f"{prefix}{name}.weight"]

        q, k = (self._interleaved(weight(f"self_attn.{kind}_proj")) for kind in "qk")
        gate_up = torch.cat([weight("mlp.gate_proj"), weight("mlp.up_proj")])
        return Block(
            qkv=self._after_norm(torch.cat([q, k, weight("self_attn.v_proj")]), weight("input_layernorm")),
            out=Product(weight("self_attn.o_proj").detach().t(), large=self._large),
            gate_up=self._after_norm(gate_up, weight("post_attention_layernorm")),
            down=Product(weight("mlp.down_proj").detach().t(), large=self._large),
        )

    def _interleaved(self, projection: Tensor) -> Tensor:
        halves: Tensor = projection.view(-1, 2, self._dim // 2, self.width)
        return halves.transpose(1, 2).reshape(-1, self.width)

    def _after_norm(self, weight: Tensor, gain: Tensor) -> Product:
        scaled: Tensor = weight * gain * self.width**0.5
        return Product(scaled.detach().t(), large=self._large)
