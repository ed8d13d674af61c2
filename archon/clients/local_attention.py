"""Attention of many rows' newest tokens to their own caches, pool by pool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from archon.clients.local_model import Row
from archon.clients.local_pools import Pool, Pools, capacity_for

if TYPE_CHECKING:
    from torch import Tensor


class Heads(NamedTuple):
    """How the columns of queries, keys and values are divided."""

    queries: int
    keys: int
    """Key heads, and as many value heads; divides `queries` (Ainslie et al. 2023, arXiv:2305.13245)."""
    width: int
    """Numbers a head."""

    @property
    def scale(self) -> float:
        """On the products of queries and keys (Vaswani et al. 2017, arXiv:1706.03762)."""
        return float(self.width**-0.5)


class Span:
    """One pool's rows in a step: where they stand among all tokens of the step and what they may attend to."""

    def __init__(self, pool: Pool, begin: int, heads: Heads) -> None:
        import torch

        self.pool = pool
        self._heads = heads
        counts = [1 + len(row.drafted) for row in pool.rows]
        self.end = begin + sum(counts)
        self._tokens = slice(begin, self.end)
        self.positions = [row.length + i for row, count in zip(pool.rows, counts, strict=True) for i in range(count)]
        owners = [index for index, count in enumerate(counts) for _ in range(count)]
        at = torch.tensor(self.positions)[:, None]
        # Places in a layer's keys and values laid out as [(2, room, heads, capacity), head_dim].
        planes = (torch.arange(2) * pool.data.shape[2] + torch.tensor(owners)[:, None])[:, :, None]
        places = planes * heads.keys + torch.arange(heads.keys)
        self._places = (places * pool.capacity + at[:, :, None]).view(-1)
        hidden = torch.arange(pool.capacity) > at
        mask = torch.zeros(hidden.shape, dtype=pool.data.dtype).masked_fill_(hidden, float("-inf"))
        self._plain = len(owners) == len(counts)
        self._mask = mask.repeat_interleave(heads.keys, 0)[:, None] if self._plain else mask[:, None]
        blocks = [] if self._plain else list(_blocks(pool.rows, counts))
        turns = list(_turns(blocks, counts))
        # By heads or by turns, whichever takes fewer products.
        self._blocks, self._turns = (blocks, []) if len(blocks) * heads.keys <= len(turns) else ([], turns)

    def attend(self, layer: int, qkv: Tensor, attended: Tensor) -> None:
        """Stores the new keys and values and writes what the new queries see to `attended`."""
        import torch

        heads, data = self._heads, self.pool.data[layer]
        queries, fresh = qkv[self._tokens, : heads.queries], qkv[self._tokens, heads.queries :]
        data.view(-1, heads.width)[self._places] = fresh.reshape(-1, heads.width)
        if not self._plain:
            self._attend_blocks(data, queries, attended[self._tokens])
            return
        keys, values = data[:, : len(fresh)].reshape(2, -1, self.pool.capacity, heads.width).unbind()
        grouped = queries.reshape(len(keys), -1, heads.width)
        weights = torch.baddbmm(self._mask, grouped, keys.transpose(1, 2), alpha=heads.scale).softmax(-1)
        attended[self._tokens] = torch.bmm(weights, values).view(len(fresh), -1)

    def _attend_blocks(self, data: Tensor, queries: Tensor, attended: Tensor) -> None:
        """Several tokens a row, each computed as if it were alone: a product of several queries would round otherwise.

        By heads: the queries of one head share its keys without a copy. By turns: the first tokens of all rows, then
        the second ones, and so on.
        """
        import torch

        heads = self._heads
        group = heads.queries // heads.keys
        width = group * heads.width
        for block in self._blocks:
            count, mask = block.end - block.begin, self._mask[block.begin : block.end, :, : block.capacity]
            for head in range(heads.keys):
                keys, values = data[:, block.row, head, : block.capacity].unbind()
                asked = queries[block.begin : block.end, head * group : (head + 1) * group]
                weights = torch.baddbmm(mask, asked, keys.t().expand(count, -1, -1), alpha=heads.scale).softmax(-1)
                found = torch.bmm(weights, values.expand(count, -1, -1))
                attended[block.begin : block.end, head * width : (head + 1) * width] = found.view(count, width)
        for turn in self._turns:
            capacity, rows = turn.capacity, len(turn.tokens)
            keys, values = data[:, :rows, :, :capacity].reshape(2, -1, capacity, heads.width).unbind()
            mask = self._mask[turn.tokens, :, :capacity].repeat_interleave(heads.keys, 0)
            grouped = queries[turn.tokens].reshape(len(keys), group, heads.width)
            weights = torch.baddbmm(mask, grouped, keys.transpose(1, 2), alpha=heads.scale).softmax(-1)
            attended[turn.kept] = torch.bmm(weights, values).view(rows, -1)[turn.rows]


class Block(NamedTuple):
    """Tokens `begin` to `end` of a span: they are of one row, and of one capacity when computed alone."""

    begin: int
    end: int
    row: int
    capacity: int


class Turn(NamedTuple):
    """One token of every row of a pool at one capacity; those of `rows` count, the others fill their places."""

    tokens: Tensor
    rows: Tensor
    kept: Tensor
    capacity: int


def _blocks(rows: Sequence[Row], counts: Sequence[int]) -> Iterator[Block]:
    begin = 0
    for index, (row, count) in enumerate(zip(rows, counts, strict=True)):
        first, end = row.length, row.length + count
        while first < end:
            capacity = capacity_for(first)
            last = min(end, capacity)
            yield Block(begin, begin + last - first, index, capacity)
            begin += last - first
            first = last


def _turns(blocks: Sequence[Block], counts: Sequence[int]) -> Iterator[Turn]:
    import torch

    starts = [end - count for end, count in zip(accumulate(counts), counts, strict=True)]
    taken: dict[tuple[int, int], dict[int, int]] = {}
    for block in blocks:
        for token in range(block.begin, block.end):
            taken.setdefault((token - starts[block.row], block.capacity), {})[block.row] = token
    for (_, capacity), chosen in taken.items():
        tokens = torch.tensor([chosen.get(row, start) for row, start in enumerate(starts)])
        yield Turn(tokens, torch.tensor(list(chosen)), torch.tensor(list(chosen.values())), capacity)


def spans_of(pools: Pools, heads: Heads) -> list[Span]:
    """One span a pool that holds rows; together they cover all tokens of the step in order."""
    spans: list[Span] = []
    begin = 0
    for pool in pools:
        spans.append(Span(pool, begin, heads))
        begin = spans[-1].end
    return spans
