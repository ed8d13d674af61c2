"""A lean Llama: the forward of `LlamaForCausalLM` (Touvron et al. 2023, arXiv:2302.13971) for many rows at once.

Queries, keys and values are one product, gate and up another, and weights that float16 holds are multiplied from it
(`specdec.halves`). **A row's results do not depend on the rows beside it**, bit for bit: a product from float16 gives a
row the same bits in any company; others do where the BLAS library treats rows alike, for which they have a multiple of
16 rows. A prompt attends to itself alone, and the shape of a token's attention follows from its own
position, alone or in a block of drafted ones. `local_probe` checks that on the machine at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from archon.clients.local_attention import Heads, spans_of
from archon.clients.local_model import Prefix, Row
from archon.clients.local_pools import Pools

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from specdec.product import Product

_ROW_MULTIPLE = 16
"""BLAS kernels for fewer rows, or for what is left of a tile, sum in another order (measured with MKL and OpenBLAS)."""


class Shape(NamedTuple):
    """The sizes of a Llama."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    words: int
    context: int
    epsilon: float
    theta: float


class LayerWeights(NamedTuple):
    """One layer's products, and the weights of its norms where they are not folded into the product that follows."""

    before: Tensor | None
    qkv: Product
    out: Product
    between: Tensor | None
    gate_up: Product
    down: Product


class Weights(NamedTuple):
    """All of a model. last: as in `LayerWeights`, of the norm before the head."""

    embedding: Tensor
    layers: tuple[LayerWeights, ...]
    last: Tensor | None
    head: Product

    @property
    def products(self) -> list[Product]:
        layers = ((layer.qkv, layer.out, layer.gate_up, layer.down) for layer in self.layers)
        return [self.head, *(product for products in layers for product in products)]


class Llama:
    """A `LocalModel`."""

    def __init__(self, shape: Shape, weights: Weights) -> None:
        import torch

        from specdec.halves import Halves

        self._shape = shape
        self._weights = weights
        self._exact = all(isinstance(one, Halves) for one in weights.products)
        self._heads = Heads(shape.heads, shape.kv_heads, shape.head_dim)
        self._width = (shape.heads + 2 * shape.kv_heads) * shape.head_dim
        self._dtype = weights.embedding.dtype
        # Of models in 16 bits too.
        self._norms = torch.promote_types(self._dtype, torch.float32)
        self._floor = weights.embedding.shape[1] * shape.epsilon
        self._pools = Pools(shape.layers, shape.kv_heads, shape.head_dim, self._dtype)
        self._cos, self._sin = _rotations(shape, self._dtype)

    @property
    def context(self) -> int:
        return self._shape.context

    @property
    def dtype_name(self) -> str:
        return str(self._dtype).removeprefix("torch.")

    def prefill(self, prompts: Sequence[Sequence[int]]) -> list[Prefix]:
        logits, caches = self._packed(prompts, [len(prompt) - 1 for prompt in prompts])
        return [
            Prefix(cache, last, len(prompt), cache.nbytes)
            for cache, last, prompt in zip(caches, logits, prompts, strict=True)
        ]

    def open(self, prefix: Prefix, owner: Any) -> Row:
        row = Row(owner, prefix.length)
        self._pools.add(row, prefix.cache)
        return row

    def close(self, row: Row, *, broken: bool = False) -> None:
        row.place.remove(row, broken=broken)

    def logits(self, tokens: Sequence[int], start: int) -> Tensor:
        return self._packed([tokens], [start])[0]

    def advance(self) -> tuple[list[Row], Tensor]:
        import torch

        self._pools.promote()
        spans = spans_of(self._pools, self._heads)
        rows = [row for span in spans for row in span.pool.rows]
        fed = [token for row in rows for token in (row.token, *row.drafted)]
        positions = self._padded([position for span in spans for position in span.positions])
        x = self._weights.embedding[self._padded(fed)]
        cos, sin = self._cos[positions], self._sin[positions]
        attended = torch.zeros(len(x), self._shape.heads * self._shape.head_dim, dtype=self._dtype)
        for index, layer in enumerate(self._weights.layers):
            qkv = self._projected(x, layer, cos, sin)
            for span in spans:
                span.attend(index, qkv, attended)
            x = self._transformed(x, attended, layer)
        for row in rows:
            row.length += 1 + len(row.drafted)
        return rows, self._head(x)[: len(fed)]

    def _packed(self, prompts: Sequence[Sequence[int]], starts: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """One forward over prompts laid end to end: logits from each prompt's start on, and each prompt's cache."""
        import torch

        ends = torch.tensor([len(prompt) for prompt in prompts]).cumsum(0).tolist()
        bounds = [(end - len(prompt), end) for prompt, end in zip(prompts, ends, strict=True)]
        positions = self._padded([index for prompt in prompts for index in range(len(prompt))])
        x = self._weights.embedding[self._padded([token for prompt in prompts for token in prompt])]
        cos, sin = self._cos[positions], self._sin[positions]
        wanted = [i for (begin, end), start in zip(bounds, starts, strict=True) for i in range(begin + start, end)]
        kept = self._padded(wanted)
        stored = []
        for index, layer in enumerate(self._weights.layers):
            qkv = self._projected(x, layer, cos, sin)
            stored.append(qkv[:, self._shape.heads :])
            last = index == self._shape.layers - 1
            attended = torch.cat(
                [self._causal(qkv[a:b], s if last else 0) for (a, b), s in zip(bounds, starts, strict=True)]
            )
            # After the last attention only the wanted positions matter.
            x = self._transformed(x[kept] if last else x, _filled(attended, len(kept) if last else len(x)), layer)
        return self._head(x)[: len(wanted)], [self._cache(stored, a, b) for a, b in bounds]

    def _projected(self, x: Tensor, layer: LayerWeights, cos: Tensor, sin: Tensor) -> Tensor:
        """Queries, keys and values [rows, heads + 2 kv_heads, head_dim], the first two rotated (Su et al. 2021)."""
        import torch

        shape = self._shape
        qkv = self._multiplied(layer.qkv, x, layer.before, self._width).view(len(x), -1, shape.head_dim)
        turned = qkv[:, : shape.heads + shape.kv_heads]
        torch.addcmul(turned * cos, turned.roll(shape.head_dim // 2, -1), sin, out=turned)
        return qkv

    def _transformed(self, x: Tensor, attended: Tensor, layer: LayerWeights) -> Tensor:
        """x with the rest of the layer added, in place."""
        from torch.nn import functional

        layer.out.add_to(x, attended)
        gate, up = self._multiplied(layer.gate_up, x, layer.between, 2 * self._shape.inner).chunk(2, -1)
        layer.down.add_to(x, functional.silu(gate).mul_(up))
        return x

    def _head(self, x: Tensor) -> Tensor:
        return self._multiplied(self._weights.head, x, self._weights.last, self._shape.words)

    def _multiplied(self, product: Product, x: Tensor, gain: Tensor | None, width: int) -> Tensor:
        """The product of what the norm makes of x, x/√(Σx² + size·ε) times the gain."""
        import torch

        # In fewer operations than torch's own norm, all of them rounded alike in vectors and at their ends.
        norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=self._norms)
        normed = (x / norm.square_().add_(self._floor).sqrt_()).to(x.dtype)
        out = x.new_empty(len(x), width)
        product.into(normed if gain is None else normed.mul_(gain), out)
        return out

    def _padded(self, values: list[int]) -> Tensor:
        import torch

        # Of more rows the operations between products may be cut among threads, and not between two rows.
        alone = self._exact and len(values) <= _ROW_MULTIPLE
        return torch.tensor(values if alone else values + [0] * (-len(values) % _ROW_MULTIPLE))

    def _causal(self, qkv: Tensor, start: int) -> Tensor:
        """Attention within one prompt, for the queries from `start` on: [queries, heads * head_dim]."""
        import torch
        from torch.nn import functional

        shape, length = self._shape, len(qkv)
        queries, keys, values = torch.split(qkv.transpose(0, 1), [shape.heads, shape.kv_heads, shape.kv_heads])
        if shape.heads != shape.kv_heads:
            keys, values = (part.repeat_interleave(shape.heads // shape.kv_heads, 0) for part in (keys, values))
        mask = None
        if 0 < start < length - 1:
            mask = torch.ones(length - start, length, dtype=torch.bool).tril(start)
        found = functional.scaled_dot_product_attention(
            queries[None, :, start:], keys[None], values[None], mask, is_causal=start == 0 and length > 1
        )
        return found[0].transpose(0, 1).reshape(length - start, -1)

    def _cache(self, stored: list[Tensor], begin: int, end: int) -> Tensor:
        import torch

        heads = self._shape.kv_heads
        parts = [part[begin:end].view(end - begin, 2, heads, self._shape.head_dim) for part in stored]
        return torch.stack(parts).permute(0, 2, 3, 1, 4).contiguous()


def _filled(x: Tensor, rows: int) -> Tensor:
    from torch.nn import functional

    return functional.pad(x, (0, 0, 0, rows - len(x)))


def _rotations(shape: Shape, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines [context, 1, head_dim], from float32 angles as in transformers."""
    import torch

    exponents = torch.arange(0, shape.head_dim, 2, dtype=torch.int64).float() / shape.head_dim
    angles = torch.outer(torch.arange(shape.context).float(), 1.0 / shape.theta**exponents)
    # Rolling by half a head brings (x2, x1) where the rotation needs (-x2, x1): the sign goes to the sine.
    sines = torch.cat((-angles.sin(), angles.sin()), -1)
    return torch.cat((angles, angles), -1).cos().to(dtype)[:, None], sines.to(dtype)[:, None]
