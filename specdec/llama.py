"""A Llama forward pass with little overhead: the same numbers as transformers' `LlamaForCausalLM`, a third of its
operations.

For small models the time of a step is the time of launching operations, so the weights are prepared once: queries,
keys and values are one product, gate and up another; the norms' gains are folded into the product that follows, where
that does not cost it its faster form (`specdec.product`); each head's rotary halves are interleaved, so that the
rotation is one complex multiplication (attention only sees q·k, which no permutation changes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from specdec.attention import attend
from specdec.cache import KVCache
from specdec.halves import Halves
from specdec.product import SMALL, Floats, Product, product
from specdec.spans import Span

_STATIC_ROPE = ("default", "linear", "llama3")
_KEPT = 64
"""Tokens of a pass up to which the room it takes is kept for the next."""
_BESIDE = 16
"""Numbers beside each token's x: as many as keep the lines of float32 where a processor likes them to begin."""


@dataclass(frozen=True, slots=True)
class Block:
    """One layer's matrices. before, between: the gains of its norms, where they are not folded into qkv and gate_up."""

    before: Tensor | None
    qkv: Product
    out: Product
    between: Tensor | None
    gate_up: Product
    down: Product


class Room(NamedTuple):
    """Where a layer puts what it computes, and views of that: what is made once need not be made by every layer.

    stream: what the layers add to, [n·width, hidden + 16], and x: its first part. The first number of the second part
    is √(hidden·ε) and the others are 0, so that the norm of a whole line of `stream` is √(Σx² + hidden·ε). qkv:
    queries, keys and values side by side. turned: queries and keys as complex numbers. queries: [n, heads, width,
    head_dim]. fresh: keys and values, [n·width, 2, kv_heads, head_dim]. inner: gate and up side by side.
    """

    stream: Tensor
    x: Tensor
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
            shown = unembed.detach().t()
            # Often a view of the embedding, which is large: not copied.
            self._unembed = Halves.of(shown) or Floats(shown, large=False, copied=False)
        self._floor = float((self.width * config.rms_norm_eps) ** 0.5)

    @classmethod
    def of(cls, model: Any, name: str) -> LeanLlama:
        """From a `LlamaForCausalLM` in memory."""
        return cls(model.config, model.state_dict(), model.model.rotary_emb.inv_freq, name)

    def new_cache(self) -> KVCache:
        shape = (len(self._blocks), self._kv_heads, self._dim, self.dtype, self.device)
        # On other devices nobody has measured whether pages pay.
        return KVCache(*shape, apart=True, paged=self.device.type == "cpu")

    def hidden(self, ids: Tensor, span: Span) -> Tensor:
        """The last hidden state after the final norm. ids: int64 [n·width] → [n·width, hidden]."""
        rotation, room = self._begin(ids, span)
        for layer, block in enumerate(self._blocks):
            self._layer(layer, block, span, rotation, room)
        return _normed(room, self._gain)

    def read(self, ids: Tensor, span: Span) -> None:
        """Fill the cache with int64 [n·width]: of the last layer, only keys and values are computed."""
        rotation, room = self._begin(ids, span)
        last = len(self._blocks) - 1
        for layer, block in enumerate(self._blocks[:last]):
            self._layer(layer, block, span, rotation, room)
        _store(last, self._blocks[last], span, rotation, room)

    def logits(self, hidden: Tensor) -> Tensor:
        """[n, hidden] → [n, vocab]."""
        found = hidden.new_empty(hidden.shape[0], self.vocab)
        self._unembed.into(hidden, found)
        return found if self._unembed.unit == 1 else found.mul_(self._unembed.unit)

    def _begin(self, ids: Tensor, span: Span) -> tuple[Tensor, Room]:
        """The rotation of the pass, and its room with the tokens' embeddings in x."""
        room = self._room(span)
        room.x.copy_(torch.embedding(self._embedding, ids))
        return self._rotation(span), room

    def _layer(self, layer: int, block: Block, span: Span, rotation: Tensor, room: Room) -> None:
        """Add the layer's two parts to x."""
        keys, values = _store(layer, block, span, rotation, room)
        mixed = attend(room.queries, keys, values, span, grouped=self._heads != self._kv_heads)
        seen = mixed if span.width == 1 else mixed.transpose(1, 2)
        block.out.add_to(room.x, seen.reshape(-1, self._heads * self._dim))
        block.gate_up.into(_normed(room, block.between), room.inner)
        block.down.add_to(room.x, F.silu(room.gate).mul_(room.up))

    def _room(self, span: Span) -> Room:
        """Used by the layers in turn, and by later passes of one shape where it is small."""
        shape = (span.rows, span.width)
        found: Room = span.scratch.get(shape) or self._new_room(*shape)
        if span.rows * span.width <= _KEPT:
            span.scratch[shape] = found
        return found

    def _new_room(self, rows: int, width: int) -> Room:
        rotated, count = self._heads + self._kv_heads, rows * width
        stream = self._embedding.new_zeros(count, self.width + _BESIDE)
        stream[:, self.width] = self._floor
        qkv = stream.new_empty(count, (rotated + self._kv_heads) * self._dim)
        inner = stream.new_empty(count, 2 * self._inner)
        pairs = qkv.view(count, -1, self._dim // 2, 2)[:, :rotated]
        queries, fresh = qkv.tensor_split([self._heads * self._dim], dim=-1)
        heads = queries.view(rows, width, self._heads, self._dim).transpose(1, 2)
        fresh = fresh.view(count, 2, self._kv_heads, self._dim)
        x, turned = stream[:, : self.width], torch.view_as_complex(pairs)
        return Room(stream, x, qkv, turned, heads, fresh, inner, *inner.chunk(2, dim=-1))

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
        inner = torch.cat([weight("mlp.gate_proj"), weight("mlp.up_proj")])
        before, qkv = self._after_norm(torch.cat([q, k, weight("self_attn.v_proj")]), weight("input_layernorm"))
        between, gate_up = self._after_norm(inner, weight("post_attention_layernorm"))
        return Block(
            before=before,
            qkv=qkv,
            out=product(weight("self_attn.o_proj").detach().t(), large=self._large),
            between=between,
            gate_up=gate_up,
            down=product(weight("mlp.down_proj").detach().t(), large=self._large),
        )

    def _interleaved(self, projection: Tensor) -> Tensor:
        halves: Tensor = projection.view(-1, 2, self._dim // 2, self.width)
        return halves.transpose(1, 2).reshape(-1, self.width)

    def _after_norm(self, weight: Tensor, gain: Tensor) -> tuple[Tensor | None, Product]:
        """The gain that is left to apply, and the product after it. Folded into the matrix it costs nothing, but what
        float16 held exactly it would hold no more."""
        weight, gain = weight.detach(), gain.detach() * self.width**0.5
        halves = Halves.of(weight.t())
        if halves is not None:
            return gain * halves.unit, halves
        # Not `product`, which might find another unit that nobody applies.
        return None, Floats((weight * gain).t(), large=self._large)


def _store(layer: int, block: Block, span: Span, rotation: Tensor, room: Room) -> tuple[Tensor, Tensor]:
    """The layer's keys and values, those of x among them, as `Span.store` returns them; `room` has the queries."""
    block.qkv.into(_normed(room, block.before), room.qkv)
    room.turned.mul_(rotation)
    return span.store(layer, room.fresh)


def _normed(room: Room, gain: Tensor | None) -> Tensor:
    """x/√(Σx² + width·ε) times the gain; without one, it and the factor √width are in the matrix that follows."""
    normed: Tensor = room.x / torch.linalg.vector_norm(room.stream, dim=-1, keepdim=True)
    return normed if gain is None else normed.mul_(gain)
