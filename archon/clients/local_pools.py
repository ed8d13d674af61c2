"""Where the keys and values of open rows lie: pools of rows of like length, each one block of memory without holes.

A forward reads every row of a pool up to the pool's capacity, so capacities are close together (32 apart, a quarter of
the length for long rows), and a row that outgrows its pool moves to the next. So the shape of a row's attention follows
from its own length alone, and its products read memory without gaps, which is three times as fast for short rows. A
row that ends is replaced by the pool's last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archon.clients.local_model import Row

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_SMALLEST_STEP = 32
_FIRST_ROOM = 4
_KEPT_BYTES = 1 << 26
"""An empty pool beyond this gives its memory back."""


def capacity_for(length: int) -> int:
    """Capacity of the pool for a row of `length` tokens: at least one more, and at most about a quarter more."""
    step = max(_SMALLEST_STEP, (1 << length.bit_length()) // 8)
    return (length // step + 1) * step


class Pool:
    """Rows of at most `capacity` tokens.

    Attributes:
        floor: the shortest row that belongs here.
        data: [layers, 2 (keys, values), room, heads, capacity, head_dim]; the first `len(rows)` of `room` are in use.
            What lies behind a row's length is stale but finite, so that a weight of zero makes it nothing.
    """

    def __init__(self, layers: int, heads: int, head_dim: int, capacity: int, dtype: torch.dtype) -> None:
        self.capacity = capacity
        self.floor = next(n for n in range(capacity) if capacity_for(n) == capacity)
        self.rows: list[Row] = []
        self._shape = (layers, 2, heads, capacity, head_dim)
        self._dtype = dtype
        self.data = self._block(_FIRST_ROOM)

    def add(self, row: Row, cache: Tensor) -> None:
        """Takes in a row whose keys and values are `cache`: [layers, 2, heads, length, head_dim]."""
        if len(self.rows) == self.data.shape[2]:
            grown = self._block(2 * len(self.rows))
            grown[:, :, : len(self.rows)] = self.data
            self.data = grown
        row.place, row.index = self, len(self.rows)
        self.rows.append(row)
        self.data[:, :, row.index, :, : row.length] = cache

    def cache(self, row: Row) -> Tensor:
        """Keys and values of a row, as `add` takes them."""
        return self.data[:, :, row.index, :, : row.length]

    def remove(self, row: Row, *, broken: bool = False) -> None:
        """Frees a row's place; a `broken` row, whose values may not be finite, leaves zeros behind."""
        last = self.rows.pop()
        if last is not row:
            self.data[:, :, row.index, :, : last.length] = self.cache(last)
            self.rows[row.index] = last
        if broken:
            self.data[:, :, row.index, :, last.length if last is not row else 0 :] = 0
        last.index = row.index
        if not self.rows and self.data.nbytes > _KEPT_BYTES:
            self.data = self._block(_FIRST_ROOM)

    def _block(self, room: int) -> Tensor:
        import torch

        layers, two, heads, capacity, head_dim = self._shape
        # The operating system gives zeroed pages on first touch only, so room that is never used costs nothing.
        return torch.zeros(layers, two, room, heads, capacity, head_dim, dtype=self._dtype)


class Pools:
    """The pools of one model, made when first needed."""

    def __init__(self, layers: int, heads: int, head_dim: int, dtype: torch.dtype) -> None:
        self._layout = (layers, heads, head_dim)
        self._dtype = dtype
        self._pools: dict[int, Pool] = {}

    def __iter__(self) -> Iterator[Pool]:
        """The pools that hold rows, by capacity."""
        return (self._pools[size] for size in sorted(self._pools) if self._pools[size].rows)

    def add(self, row: Row, cache: Tensor) -> None:
        """Takes in a row, with room for its next tokens."""
        capacity = capacity_for(_last(row))
        if capacity not in self._pools:
            self._pools[capacity] = Pool(*self._layout, capacity, self._dtype)
        self._pools[capacity].add(row, cache)

    def promote(self) -> None:
        """Moves every row whose next tokens end beyond its pool, or before it, to the pool they end in."""
        for pool in list(self):
            for row in [row for row in pool.rows if not pool.floor <= _last(row) < pool.capacity]:
                cache = pool.cache(row).clone()
                pool.remove(row)
                self.add(row, cache)


def _last(row: Row) -> int:
    """The position of the last token that the row is to be fed."""
    return row.length + len(row.drafted)
