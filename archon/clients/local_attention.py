"""Attention of many rows' newest tokens to their own caches, pool by pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from archon.clients.local_pools import Pool, Pools

if TYPE_CHECKING:
    from torch import Tensor


class Heads(NamedTuple):
    """How the columns of queries, keys and values are divided."""

    queries: int
    keys: int
    """Key heads, and as many value heads; divides `queries` (Ainslie et al. 2023, arXiv:2305.13245)."""
    width: int
    """Numbers a head."""


class Span:
    """One pool's rows in a step: where they stand among all rows and what they may attend to."""

    def __init__(self, pool: Pool, begin: int, heads: Heads) -> None:
        import torch

        self.pool = pool
        self._heads = heads
        self._rows = slice(begin, begin + len(pool.rows))
        at = torch.tensor([row.length for row in pool.rows])[:, None]
        hidden = torch.arange(pool.capacity) > at
        mask = torch.zeros(hidden.shape, dtype=pool.data.dtype).masked_fill_(hidden, float("-inf"))
        self._mask = mask.repeat_interleave(heads.keys, 0)[:, None]
        # Places in a layer's keys and values laid out as [(2, room, heads, capacity), head_dim].
        planes = (torch.arange(2) * pool.data.shape[2] + torch.arange(len(pool.rows))[:, None])[:, :, None]
        places = planes * heads.keys + torch.arange(heads.keys)
        self._places = (places * pool.capacity + at[:, :, None]).view(-1)

    def attend(self, layer: int, qkv: Tensor, attended: Tensor) -> None:
        """Stores the new keys and values and writes what the new queries see to `attended`."""
        import torch

        heads, data = self._heads, self.pool.data[layer]
        queries, fresh = qkv[self._rows, : heads.queries], qkv[self._rows, heads.queries :]
        data.view(-1, heads.width)[self._places] = fresh.reshape(-1, heads.width)
        keys, values = data[:, : len(fresh)].reshape(2, -1, self.pool.capacity, heads.width).unbind()
        grouped = queries.reshape(len(keys), -1, heads.width)
        weights = torch.baddbmm(self._mask, grouped, keys.transpose(1, 2)).softmax(-1)
        attended[self._rows] = torch.bmm(weights, values).view(len(fresh), -1)


def spans_of(pools: Pools, heads: Heads) -> list[Span]:
    """One span a pool that holds rows; together they cover all rows in order."""
    spans, begin = [], 0
    for pool in pools:
        spans.append(Span(pool, begin, heads))
        begin += len(pool.rows)
    return spans
