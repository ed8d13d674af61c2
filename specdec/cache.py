"""Keys and values of many rows, each with a length of its own, rolled back by moving that length and nothing else.

A row's slots past its length may hold leftovers of rejected tokens or of padding; no query ever sees them (the mask
stops at the query's own position) and the next tokens overwrite them. So a rejection costs no copy and no
recomputation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Span:
    """Where the tokens of one forward pass stand: n rows of `width` tokens (shorter rows padded on the right).

    slots: int64 [n·width], flat places in the cache. positions: int64 [n·width], from 0. take: the rows in the cache.
    keys: how many slots the pass reads. mask: 0 or -inf, [n or 1, 1, width, keys] or [width, keys]; None if all is
    seen.
    """

    cache: KVCache
    rows: int
    width: int
    slots: Tensor
    positions: Tensor
    take: slice | Tensor
    keys: int
    mask: Tensor | None

    def update(self, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """Store this pass's keys and values, [n·width, 2·kv_heads·head_dim] (keys first); return all that the rows can
        see of the layer, each [n, kv_heads, keys, head_dim]."""
        store = self.cache.stores[layer]
        store.view(-1, new.shape[-1]).index_copy_(0, self.slots, new)
        seen = store[self.take, : self.keys].permute(2, 0, 3, 1, 4)
        return seen[0], seen[1]


class KVCache:
    """`stores[layer]`: [rows, slots, 2, kv_heads, head_dim]; `lengths[row]`: how many of the row's slots are valid."""

    def __init__(self, layers: int, kv_heads: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> None:
        self.lengths: list[int] = []
        self._shape = (2, kv_heads, head_dim)
        self.stores = [torch.empty(0, 0, *self._shape, dtype=dtype, device=device) for _ in range(layers)]
        # All places in a store and, in its beginning, all positions.
        self._line = torch.arange(0, device=device)

    def add_row(self) -> int:
        """A new, empty row after the others; its index."""
        self.lengths.append(0)
        return len(self.lengths) - 1

    def drop_row(self, row: int) -> None:
        """Forget a row; the *last* row takes its index, so that the rest need not move."""
        last = len(self.lengths) - 1
        if row != last:
            self.copy_row(last, row)
        self.lengths.pop()

    def copy_row(self, source: int, to: int) -> None:
        """Make row `to` hold what row `source` holds."""
        length = self.lengths[source]
        self._reserve(len(self.lengths), length)
        for store in self.stores:
            store[to, :length] = store[source, :length]
        self.lengths[to] = length

    def roll_back(self, row: int, length: int) -> None:
        """Keep the row's first `length` tokens (a row that is shorter stays as it is)."""
        self.lengths[row] = min(self.lengths[row], length)

    def open(self, rows: Sequence[int], counts: Sequence[int]) -> Span:
        """Make room for counts[i] ≥ 1 more tokens of rows[i] (rising, distinct) and count them as present."""
        width, starts = max(counts), [self.lengths[row] for row in rows]
        keys = max(starts) + width
        self._reserve(len(self.lengths), keys)
        span = self._place(rows, starts, width, keys)
        for row, start, count in zip(rows, starts, counts, strict=True):
            self.lengths[row] = start + count
        return span

    def _place(self, rows: Sequence[int], starts: list[int], width: int, keys: int) -> Span:
        slots, device = self.stores[0].shape[1], self.stores[0].device
        if len(rows) == 1:
            row, start = rows[0], starts[0]
            first = row * slots + start
            places, positions = self._line[first : first + width], self._line[start : start + width]
            mask = None if width == 1 else self._mask(positions.unsqueeze(-1), keys)
            return Span(self, 1, width, places, positions, slice(row, row + 1), keys, mask)
        at = torch.tensor(starts, device=device).unsqueeze(-1) + torch.arange(width, device=device)
        take = self._take(rows, device)
        origin = torch.tensor(rows, device=device).unsqueeze(-1) * slots
        plain = width == 1 and min(starts) == max(starts)
        mask = None if plain else self._mask(at.view(len(rows), 1, width, 1), keys)
        return Span(self, len(rows), width, (origin + at).flatten(), at.flatten(), take, keys, mask)

    def _take(self, rows: Sequence[int], device: torch.device) -> slice | Tensor:
        # Indexing with a tensor copies what it reads, a slice does not.
        first, count = rows[0], len(rows)
        return slice(first, first + count) if rows[-1] == first + count - 1 else torch.tensor(rows, device=device)

    def _mask(self, positions: Tensor, keys: int) -> Tensor:
        store = self.stores[0]
        hidden = torch.arange(keys, device=store.device) > positions
        return torch.zeros(hidden.shape, dtype=store.dtype, device=store.device).masked_fill_(hidden, -math.inf)

    def _reserve(self, rows: int, slots: int) -> None:
        have_rows, have_slots = self.stores[0].shape[:2]
        if rows <= have_rows and slots <= have_slots:
            return
        # Doubling keeps the total cost of growing linear in what is stored.
        rows = have_rows if rows <= have_rows else max(rows, 2 * have_rows)
        slots = have_slots if slots <= have_slots else max(slots, 2 * have_slots, 64)
        self._line = torch.arange(rows * slots, device=self.stores[0].device)
        # Zeros, not empty: a leftover NaN times an attention weight of 0 would still be NaN.
        grown = [torch.zeros(rows, slots, *self._shape, dtype=s.dtype, device=s.device) for s in self.stores]
        for old, new in zip(self.stores, grown, strict=True):
            new[:have_rows, :have_slots] = old
        self.stores = grown
