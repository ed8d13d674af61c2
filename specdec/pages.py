"""Keys and values of many rows in pages of some slots each (PagedAttention, Kwon et al. 2023, arXiv 2309.06180).

Rows of unlike length read together, in one piece of memory, hardly more than what they hold; a row that comes, grows or
leaves moves no other. Measured on a CPU with one thread: sixteen rows of 62 to 295 tokens attend in eight layers of
four heads of 32 in 1.3 ms, where all of them reading as much as the longest take 1.9; a step of such rows of the zoo's
captain takes 3.4 ms where it took 4.8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from specdec.spans import FreshSpan, GatheredSpan, PagedSpan, Span

PAGE = 48
"""Slots of a page, of which a row leaves half of one unused on average."""
_FEWEST, _KEPT = 64, 192 << 20
"""Pages, and bytes of them, that are made at once and kept where fewer are in use. On a CPU memory is touched, and so
taken, only when it is used."""


class _Layout(NamedTuple):
    """Which pages a pass reads, as `PagedSpan` has it. begins: int64 [pages], the position of each page's first
    slot."""

    owner: Tensor
    begins: Tensor
    table: Tensor


class Pages:
    """The pages of all rows, the first of a pool without a gap. Rows are numbered as in the cache they belong to."""

    def __init__(self, layers: int, kv_heads: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> None:
        self._pool = torch.empty(layers, 2, 0, kv_heads, PAGE, head_dim, dtype=dtype, device=device)
        self._kept = max(_FEWEST, _KEPT // (layers * 2 * kv_heads * PAGE * head_dim * self._pool.element_size()))
        self._rows = list[list[int]]()
        # The row of each page in use.
        self._owners = list[int]()
        self._device, self._line = device, torch.arange(PAGE, device=device)
        self._all: _Layout | None = None

    @property
    def nbytes(self) -> int:
        """Of all pages that there is room for."""
        return self._pool.nbytes

    def add_row(self) -> None:
        """A new, empty row after the others."""
        self._rows.append([])

    def drop_row(self, row: int) -> None:
        """Forget a row; the last one takes its index."""
        for page in sorted(self._rows[row], reverse=True):
            self._free(page)
        last = self._rows.pop()
        if row < len(self._rows):
            self._rows[row] = last
            for page in last:
                self._owners[page] = row
        self._all = None
        kept = max(self._kept, 2 * len(self._owners))
        if 2 * kept <= self._pool.shape[2]:
            self._resize(kept, len(self._owners))

    def copy_row(self, source: int, to: int, tokens: int) -> None:
        """Make row `to` hold so much of what row `source` holds."""
        self._fit([source, to], [tokens, tokens])
        self._pool[:, :, self._rows[to]] = self._pool[:, :, self._rows[source]]

    def clear(self) -> None:
        """Forget all rows, and give back what room they took beyond the common."""
        self._rows, self._owners, self._all = [], [], None
        if self._pool.shape[2] > self._kept:
            self._resize(self._kept, 0)

    def fill(self, row: int, data: Tensor) -> None:
        """Let an empty row hold so much. data: [layers, 2, kv_heads, tokens, head_dim]."""
        tokens = data.shape[3]
        self._fit([row], [tokens])
        for page, start in zip(self._rows[row], range(0, tokens, PAGE), strict=True):
            part = data[:, :, :, start : start + PAGE]
            self._pool[:, :, page, :, : part.shape[3]] = part

    def held(self, row: int, tokens: int) -> Tensor:
        """What a row holds, as `fill` takes it."""
        whole = self._pool[:, :, torch.tensor(self._rows[row], dtype=torch.int64, device=self._pool.device)]
        return whole.transpose(2, 3).flatten(3, 4)[:, :, :, :tokens]

    def open(self, rows: Sequence[int], starts: Sequence[int], width: int, scratch: dict[tuple[int, int], Any]) -> Span:
        """Where `width` more tokens of each row stand, behind `starts`; read page by page."""
        at, positions, keys = self._places(rows, starts, width)
        every = len(rows) == len(self._rows)
        layout = self._layout(rows)
        take = None if every else torch.tensor([page for row in rows for page in self._rows[row]], device=self._device)
        hidden = (layout.begins.unsqueeze(-1) + self._line).unsqueeze(1) > positions.view(-1, width)[
            layout.owner, :, None
        ]
        mask = self._pool.new_zeros(hidden.shape).masked_fill_(hidden, -math.inf).unsqueeze(1)
        into, known = self._by_layer()
        return PagedSpan(
            len(rows), width, positions, keys, mask, into, known, scratch, keys, at, take,
            owner=layout.owner, table=layout.table,
        )  # fmt: skip

    def open_wide(
        self, rows: Sequence[int], starts: Sequence[int], width: int, scratch: dict[tuple[int, int], Any]
    ) -> Span:
        """The same for so many tokens that page by page does not pay, for all their scores would be written out."""
        at, positions, keys = self._places(rows, starts, width)
        fresh = not any(starts)
        slots = positions.view(-1, 1, width, 1)[: 1 if fresh else None]
        hidden = torch.arange(keys, device=self._device) > slots
        mask = self._pool.new_zeros(hidden.shape).masked_fill_(hidden, -math.inf)
        into, known = self._by_layer()
        told = (len(rows), width, positions, keys, mask, into, known, scratch, keys, at)
        return FreshSpan(*told) if fresh else GatheredSpan(*told, pages=self._padded(rows))

    def _padded(self, rows: Sequence[int]) -> Tensor:
        """The pages of each row, int64 [n, most pages of a row], with the first of its own where it has fewer."""
        most = max(len(self._rows[row]) for row in rows)
        pages = [[*self._rows[row], *self._rows[row][:1] * (most - len(self._rows[row]))] for row in rows]
        return torch.tensor(pages, device=self._device)

    def _places(
        self, rows: Sequence[int], starts: Sequence[int], width: int
    ) -> tuple[tuple[Tensor, Tensor], Tensor, int]:
        """Page and slot of each new token, its position, and how many keys the longest row has then."""
        ends = [start + width for start in starts]
        self._fit(rows, ends)
        pages = [
            self._rows[row][slot // PAGE]
            for row, start, end in zip(rows, starts, ends, strict=True)
            for slot in range(start, end)
        ]
        slots = [slot for start, end in zip(starts, ends, strict=True) for slot in range(start, end)]
        positions = torch.tensor(slots, device=self._device)
        return (torch.tensor(pages, device=self._device), positions % PAGE), positions, max(ends)

    def _layout(self, rows: Sequence[int]) -> _Layout:
        if len(rows) < len(self._rows):
            return self._laid(
                [(line, place) for line, row in enumerate(rows) for place in range(len(self._rows[row]))], len(rows)
            )
        if self._all is None:
            places = {page: place for pages in self._rows for place, page in enumerate(pages)}
            self._all = self._laid([(row, places[page]) for page, row in enumerate(self._owners)], len(rows))
        return self._all

    def _laid(self, pages: Sequence[tuple[int, int]], lines: int) -> _Layout:
        """pages: of each, its line and its place in it."""
        table = [list[int]() for _ in range(lines)]
        for index, (line, _) in enumerate(pages):
            table[line].append(index)
        most = max(len(line) for line in table)
        table = [line + line[:1] * (most - len(line)) for line in table]
        owner, places = torch.tensor(pages, device=self._device).unbind(-1)
        return _Layout(owner.contiguous(), places * PAGE, torch.tensor(table, device=self._device))

    def _by_layer(self) -> tuple[Sequence[Tensor], tuple[Sequence[Tensor], Sequence[Tensor]]]:
        """Each layer's places to write to, [pages, PAGE, 2, kv_heads, head_dim], and what it has, [pages, kv_heads,
        PAGE, head_dim]."""
        used = self._pool[:, :, : len(self._owners)]
        keys, values = used.unbind(1)
        return used.permute(0, 2, 4, 1, 3, 5).unbind(0), (keys.unbind(0), values.unbind(0))

    def _fit(self, rows: Sequence[int], ends: Sequence[int]) -> None:
        """Give each row as many pages as so many tokens take, no more: all there are would be read. New ones hold
        zeros, for a NaN there times an attention weight of 0 would still be NaN."""
        needed = [-(-end // PAGE) for end in ends]
        for row, need in zip(rows, needed, strict=True):
            while len(self._rows[row]) > need:
                self._free(self._rows[row].pop())
        missing = [row for row, need in zip(rows, needed, strict=True) for _ in range(need - len(self._rows[row]))]
        used = len(self._owners)
        if used + len(missing) > self._pool.shape[2]:
            self._resize(max(self._kept, 3 * (used + len(missing)) // 2), used)
        self._pool[:, :, used : used + len(missing)] = 0.0
        for page, row in enumerate(missing, used):
            self._rows[row].append(page)
            self._owners.append(row)
            self._all = None

    def _free(self, page: int) -> None:
        """The last page in use takes the freed one's place."""
        last, owner, self._all = len(self._owners) - 1, self._owners.pop(), None
        if page < last:
            self._pool[:, :, page] = self._pool[:, :, last]
            self._owners[page] = owner
            mine = self._rows[owner]
            mine[mine.index(last)] = page

    def _resize(self, pages: int, used: int) -> None:
        layers, two, _, heads, _, dim = self._pool.shape
        made = self._pool.new_empty(layers, two, pages, heads, PAGE, dim)
        made[:, :, :used] = self._pool[:, :, :used]
        self._pool = made
