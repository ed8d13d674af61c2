"""Keys and values of many rows, each with a length of its own, rolled back by moving that length and nothing else.

A row's slots past its length may hold leftovers of rejected tokens or of padding; no query ever sees them (the mask
stops at the query's own position) and the next tokens overwrite them. So a rejection costs no copy and no
recomputation. What a pass needs of every layer (where to write, what to read) is made for all layers at once: for a
small model, the number of operations is the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from specdec.pages import Pages
from specdec.slots import Slots
from specdec.spans import Span

_MANY, _FEW = 5, 3
"""Rows from which on they lie in pages, and down to which they stay there: two numbers, for to move is to copy all, and
a batch may waver about either. Measured on a CPU: three rows are faster in slots, six in pages."""
_WIDE = 32
"""Tokens of a row in a pass up to which it reads page by page, which takes memory for the scores of all of them at
once."""


class KVCache:
    """`lengths[row]`: how many tokens of the row are valid.

    apart: whether rows may attend alone, for models that heed `Span.alone`. paged: whether many rows may lie in pages,
    for models that attend as `specdec.attention` does.
    """

    def __init__(
        self,
        layers: int,
        kv_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
        *,
        apart: bool = False,
        paged: bool = False,
    ) -> None:
        self.lengths: list[int] = []
        self._scratch: dict[tuple[int, int], Any] = {}
        shape = (layers, kv_heads, head_dim, dtype, device)
        self._slots = Slots(self.lengths, *shape, apart=apart, scratch=self._scratch)
        self._pages, self._paged, self._in_pages = Pages(*shape), paged, False

    @property
    def nbytes(self) -> int:
        """Of all there is room for, touched or not."""
        return self._slots.nbytes + self._pages.nbytes

    def add_row(self) -> int:
        """A new, empty row after the others; its index."""
        self.lengths.append(0)
        if self._in_pages:
            self._pages.add_row()
        return len(self.lengths) - 1

    def drop_row(self, row: int) -> None:
        """Forget a row; the *last* row takes its index."""
        last = len(self.lengths) - 1
        if self._in_pages:
            self._pages.drop_row(row)
        elif row != last:
            self._slots.copy_row(last, row)
        self.lengths[row] = self.lengths[last]
        self.lengths.pop()
        if not self.lengths:
            self._scratch.clear()
        if not self._in_pages:
            self._slots.release()

    def copy_row(self, source: int, to: int) -> None:
        """Make row `to`, empty so far, hold what row `source` holds."""
        length = self.lengths[source]
        if self._in_pages:
            self._pages.copy_row(source, to, length)
        else:
            self._slots.copy_row(source, to)
        self.lengths[to] = length

    def roll_back(self, row: int, length: int) -> None:
        """Keep the row's first `length` tokens (a row that is shorter stays as it is)."""
        self.lengths[row] = min(self.lengths[row], length)

    def open(self, rows: Sequence[int], counts: Sequence[int]) -> Span:
        """Make room for counts[i] ≥ 1 more tokens of rows[i] (rising, distinct) and count them as present."""
        self._settle()
        width, starts = max(counts), [self.lengths[row] for row in rows]
        if not self._in_pages:
            span = self._slots.open(rows, starts, width)
        elif width <= _WIDE:
            span = self._pages.open(rows, starts, width, self._scratch)
        else:
            span = self._pages.open_wide(rows, starts, width, self._scratch)
        for row, start, count in zip(rows, starts, counts, strict=True):
            self.lengths[row] = start + count
        return span

    def open_next(self, row: int) -> Span:
        """The same for one token of one row, in less time where there are few."""
        if self._in_pages:
            return self.open((row,), (1,))
        start = self.lengths[row]
        span = self._slots.open((row,), (start,), 1)
        self.lengths[row] = start + 1
        return span

    def _settle(self) -> None:
        """Move all rows into pages, or back, as many as there are."""
        if (self._paged and len(self.lengths) >= (_FEW if self._in_pages else _MANY)) == self._in_pages:
            return
        if self._in_pages:
            for row, length in enumerate(self.lengths):
                self._slots.fill(row, self._pages.held(row, length))
            self._pages.clear()
        else:
            self._pages.clear()
            for row in range(len(self.lengths)):
                self._pages.add_row()
                self._pages.fill(row, self._slots.held(row))
            self._slots.clear()
        self._in_pages = not self._in_pages
