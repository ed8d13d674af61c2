"""Keys and values of few rows, each in slots of its own that follow each other, so that views do for reading them.

On a CPU room is taken long before it is used and touched only when it is: memory that an operating system has to find,
page by page, can cost more than the passes that use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from specdec.masks import Masks
from specdec.spans import Alone, Span, shared_keys

_GRAIN = 64
"""Slots are made, and cleared, by so many at a time."""
_KEPT_VIEWS = 8192
"""Layers' places of single tokens of single rows that are kept: later rows stand in the same places."""
_KEPT_SLOTS = 512
"""Slots of a row that are kept, and on a CPU made at once, however few are in use."""


class Slots:
    """The store is [layers, 2, rows, kv_heads, slots, head_dim], so that what one head reads lies in one piece.

    lengths: how many slots of each row are valid, kept by the cache this belongs to. apart: whether rows may attend
    alone, for models that heed `Span.alone`: together, every row costs what the longest does.
    """

    def __init__(
        self,
        lengths: list[int],
        layers: int,
        kv_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
        *,
        apart: bool,
        scratch: dict[tuple[int, int], Any],
    ) -> None:
        self._lengths, self._apart, self._scratch = lengths, apart, scratch
        self._store = torch.empty(layers, 2, 0, kv_heads, 0, head_dim, dtype=dtype, device=device)
        # How many of each row's slots hold numbers for certain, used or not.
        self._clean = list[int]()
        self._line = torch.arange(0, device=device)
        self._seen = Masks(0, dtype, device)
        self._writable: Sequence[Tensor] = ()
        self._last: tuple[tuple[int, ...], Tensor] = ((), self._line)
        self._places: dict[int, tuple[Tensor, Tensor]] = {}
        self._spans: dict[tuple[int, int], Span] = {}

    @property
    def nbytes(self) -> int:
        """Of the whole store, touched or not."""
        return self._store.nbytes

    def clear(self) -> None:
        """Forget all rows, and give their room back."""
        layers, two, _, heads, _, dim = self._store.shape
        self._take(self._store.new_empty(layers, two, 0, heads, 0, dim))
        self._clean = []

    def copy_row(self, source: int, to: int) -> None:
        """Make row `to` hold what row `source` holds."""
        self.fill(to, self.held(source))

    def held(self, row: int) -> Tensor:
        """[layers, 2, kv_heads, tokens, head_dim], a view."""
        if not self._lengths[row]:  # there may be no room for it yet
            return self._store.new_empty(*self._store.shape[:2], self._store.shape[3], 0, self._store.shape[5])
        return self._store[:, :, row, :, : self._lengths[row]]

    def fill(self, row: int, data: Tensor) -> None:
        """Let a row hold what `held` gives."""
        length = data.shape[3]
        self._reserve(length)
        self._store[:, :, row, :, :length] = data
        self._clean[row] = max(self._clean[row], length)

    def open(self, rows: Sequence[int], starts: Sequence[int], width: int) -> Span:
        """Where `width` more tokens of each row stand, behind `starts`."""
        keys = max(starts) + width
        self._reserve(keys)
        for row, start in zip(rows, starts, strict=True):
            # Of a pass that has ended, and only then, all that it wrote is known to be numbers.
            self._clean[row] = max(self._clean[row], start)
        return self._single(rows[0], starts[0], width) if len(rows) == 1 else self._some(rows, starts, width, keys)

    def _single(self, row: int, start: int, width: int) -> Span:
        if width > 1:
            return self._one(row, start, width)
        known = self._spans.get((row, start))
        if known is None:
            if len(self._spans) * self._store.shape[0] >= _KEPT_VIEWS:
                self._spans.clear()
            known = self._spans[row, start] = self._one(row, start, 1)
        return known

    def _one(self, row: int, start: int, width: int) -> Span:
        """The places of one row follow each other, so that views do for all."""
        end = start + width
        if row not in self._places:
            self._places[row] = (self._store[:, :, row].permute(0, 3, 1, 2, 4), self._known(slice(row, row + 1)))
        write, read = self._places[row]
        mask = None if width == 1 else self._seen.of_one(start, width)
        into = write.narrow(1, start, width).unbind(0)
        return Span(1, width, self._line[start:end], end, mask, into, _by_layer(read, end), self._scratch, end)

    def _some(self, rows: Sequence[int], starts: Sequence[int], width: int, keys: int) -> Span:
        count = len(rows)
        begins = torch.tensor(starts, device=self._store.device)
        flat = begins if width == 1 else (begins.unsqueeze(-1) + self._line[:width]).flatten()
        of = self._numbered(rows)
        at = (of if width == 1 else of.repeat_interleave(width), flat)
        close = rows[-1] == rows[0] + count - 1
        first = rows[0] if close else 0
        shared, alone = keys, list[Alone]()
        if self._apart:
            shared = shared_keys([start + width for start in starts]) if close else 0
            alone = [
                self._alone(line, row - first, start, width)
                for line, (row, start) in enumerate(zip(rows, starts, strict=True))
                if start + width > shared
            ]
        self._clear(rows, shared)
        read = self._known(slice(first, first + count) if close else slice(None))
        return Span(
            count, width, flat, keys, self._masks(flat, starts, width, shared), self._everywhere(),
            _by_layer(read, keys), self._scratch, shared, at, None if close else of, alone,
        )  # fmt: skip

    def _clear(self, rows: Sequence[int], slots: int) -> None:
        """Zeros where the rows would else read, beyond what was written, whatever the memory held before: a NaN there
        times an attention weight of 0 would still be NaN."""
        for row in rows:
            clean = self._clean[row]
            if clean < slots:
                end = -(-slots // _GRAIN) * _GRAIN
                self._store[:, :, row, :, clean:end] = 0.0
                self._clean[row] = end

    def _numbered(self, rows: Sequence[int]) -> Tensor:
        """Rows as a tensor; most passes are of the rows that the one before was of."""
        if self._last[0] != (told := tuple(rows)):
            self._last = told, torch.tensor(rows, device=self._store.device)
        return self._last[1]

    def _everywhere(self) -> Sequence[Tensor]:
        """Each layer's places to write to, [rows, slots, 2, kv_heads, head_dim]."""
        if not self._writable:
            self._writable = self._store.permute(0, 2, 4, 1, 3, 5).unbind(0)
        return self._writable

    def _masks(self, slots: Tensor, starts: Sequence[int], width: int, keys: int) -> Tensor | None:
        """The mask of rows that attend together. slots: int64 [n·width]."""
        if not keys or (width == 1 and min(starts) + 1 >= keys):
            return None
        if min(starts) == max(starts):
            slots = slots[:width]
        return self._seen.of_some(slots, width, keys)

    def _alone(self, line: int, row: int, start: int, width: int) -> Alone:
        return Alone(line, row, start + width, None if width == 1 else self._seen.of_one(start, width))

    def _known(self, rows: slice) -> Tensor:
        """[2, layers, rows, kv_heads, slots, head_dim]."""
        return self._store[:, :, rows].transpose(0, 1)

    def _reserve(self, slots: int) -> None:
        """Make room for all rows there are, and for so many tokens in one of them."""
        rows, (_, _, have_rows, _, have_slots, _) = len(self._lengths), self._store.shape
        if rows > have_rows or slots > have_slots:
            more = have_slots if slots <= have_slots else self._width(max(slots, *self._lengths))
            self._resize(max(rows, 2 * have_rows) if rows > have_rows else have_rows, more)

    def _width(self, slots: int) -> int:
        """How many slots to make where so many are needed."""
        # Growing by a share keeps its total cost linear in what is stored.
        have = self._store.shape[4]
        share = 2 * have if have < _KEPT_SLOTS else have * 5 // 4
        if self._store.device.type == "cpu":
            share = max(share, _KEPT_SLOTS)
        return -(-max(slots, share) // _GRAIN) * _GRAIN

    def release(self) -> None:
        """Give room back that one long row took, once far less is needed."""
        have, most = self._store.shape[4], max(self._lengths, default=0)
        if have > _KEPT_SLOTS and 4 * most <= have:
            self._resize(self._store.shape[2], -(-max(most, _KEPT_SLOTS) // _GRAIN) * _GRAIN)

    def _resize(self, rows: int, slots: int) -> None:
        layers, two, have, heads, _, dim = self._store.shape
        made = self._store.new_empty(layers, two, rows, heads, slots, dim)
        kept = self._lengths[:have]
        for row, length in enumerate(kept):
            made[:, :, row, :, :length] = self._store[:, :, row, :, :length]
        self._take(made)
        self._clean = [*kept, *[0] * (rows - len(kept))]

    def _take(self, store: Tensor) -> None:
        self._store, self._line = store, torch.arange(store.shape[4], device=store.device)
        self._seen, self._writable = Masks(store.shape[4], store.dtype, store.device), ()
        self._places.clear()
        self._spans.clear()


def _by_layer(known: Tensor, keys: int) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    of_keys, of_values = known.narrow(4, 0, keys).unbind(0)
    return of_keys.unbind(0), of_values.unbind(0)
