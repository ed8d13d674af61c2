"""Keys and values of many rows, each with a length of its own, rolled back by moving that length and nothing else.

A row's slots past its length may hold leftovers of rejected tokens or of padding; no query ever sees them (the mask
stops at the query's own position) and the next tokens overwrite them. So a rejection costs no copy and no
recomputation. What a pass needs of every layer (where to write, what to read) is made for all layers at once: for a
small model, the number of operations is the time. On a CPU room is taken long before it is used and touched only when
it is: memory that an operating system has to find, page by page, can cost more than the passes that use it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from specdec.spans import Alone, Span, shared_keys

_FEW = 32
"""Tokens of one row in a pass whose mask is cut from one that is kept."""

_GRAIN = 64
"""Slots are made for few rows, and cleared, by so many at a time."""
_MANY = 3
"""From so many rows on the store is kept as narrow as the longest row nearly needs, so that what they read together
lies in one piece: measured on a CPU, 16 rows of 150 tokens attend in 0.11 ms a layer so, and in 0.27 ms with ten
unread slots between one row's head and the next, for which a processor does not read ahead."""
_AHEAD, _FINE = 48, 16
"""Slots that many rows are given beyond what is needed now, and by how many at a time."""
_DENSE = 0.45
"""What a key costs in a store that is read as one piece, in keys that are read together otherwise."""
_KEPT_VIEWS = 8192
"""Layers' places of single tokens of single rows that are kept: later rows stand in the same places."""
_KEPT_SLOTS = 512
"""Slots of a row that are kept, and on a CPU made at once, however few are in use."""


class _Plan(NamedTuple):
    """How rows attend: all to the store's whole width (dense), or `shared` keys together."""

    shared: int
    dense: bool


class KVCache:
    """`lengths[row]`: how many of the row's slots are valid.

    The store is [layers, 2, rows, kv_heads, slots, head_dim], so that what one head reads lies in one piece. apart:
    whether rows may attend alone, for models that heed `Span.alone`: together, every row costs what the longest does.
    dense: whether many rows may read all there is, for models that heed `Span.dense`.
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
        dense: bool = False,
    ) -> None:
        self.lengths: list[int] = []
        self._apart, self._dense = apart, dense and device.type == "cpu"
        self._store = torch.empty(layers, 2, 0, kv_heads, 0, head_dim, dtype=dtype, device=device)
        # How many of each row's slots hold numbers for certain, used or not.
        self._clean = list[int]()
        self._line = torch.arange(0, device=device)
        self._corner = self._store.new_empty(0)
        self._places: dict[int, tuple[Tensor, Tensor]] = {}
        self._spans: dict[tuple[int, int], Span] = {}
        # All the room of the store, and that which it had before it last moved: memory that an operating system has to
        # find anew, page by page, is slow.
        self._whole, self._spare = self._store.view(-1), self._store.new_empty(0)
        self._scratch: dict[tuple[int, int], Any] = {}

    @property
    def nbytes(self) -> int:
        """Of the whole store, touched or not."""
        return self._whole.nbytes + self._spare.nbytes

    def add_row(self) -> int:
        """A new, empty row after the others; its index."""
        self.lengths.append(0)
        if len(self._clean) < len(self.lengths):
            self._clean.append(0)
        return len(self.lengths) - 1

    def drop_row(self, row: int) -> None:
        """Forget a row; the *last* row takes its index, so that the rest need not move."""
        last = len(self.lengths) - 1
        if row != last:
            self.copy_row(last, row)
        self.lengths.pop()
        if not self.lengths:
            self._scratch.clear()
        self._release()

    def copy_row(self, source: int, to: int) -> None:
        """Make row `to` hold what row `source` holds."""
        length = self.lengths[source]
        self._reserve(len(self.lengths), length)
        self._store[:, :, to, :, :length] = self._store[:, :, source, :, :length]
        self.lengths[to] = length
        self._clean[to] = max(self._clean[to], length)

    def roll_back(self, row: int, length: int) -> None:
        """Keep the row's first `length` tokens (a row that is shorter stays as it is)."""
        self.lengths[row] = min(self.lengths[row], length)

    def open(self, rows: Sequence[int], counts: Sequence[int]) -> Span:
        """Make room for counts[i] ≥ 1 more tokens of rows[i] (rising, distinct) and count them as present."""
        width, starts = max(counts), [self.lengths[row] for row in rows]
        for row, start in zip(rows, starts, strict=True):
            # Of a pass that has ended, and only then, all that it wrote is known to be numbers.
            self._clean[row] = max(self._clean[row], start)
        keys = max(starts) + width
        self._reserve(len(self.lengths), keys)
        span = self._single(rows[0], starts[0], width) if len(rows) == 1 else self._some(rows, starts, width, keys)
        for row, start, count in zip(rows, starts, counts, strict=True):
            self.lengths[row] = start + count
        return span

    def open_next(self, row: int) -> Span:
        """The same for one token of one row."""
        start = self.lengths[row]
        self._clean[row] = max(self._clean[row], start)
        self._reserve(len(self.lengths), start + 1)
        self.lengths[row] = start + 1
        return self._single(row, start, 1)

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
        mask = None if width == 1 else self._causal(start, width)
        into = write.narrow(1, start, width).unbind(0)
        return Span(1, width, self._line[start:end], end, mask, into, _by_layer(read, end), self._scratch, end)

    def _some(self, rows: Sequence[int], starts: list[int], width: int, keys: int) -> Span:
        count, device = len(rows), self._store.device
        slots = torch.tensor(starts, device=device).unsqueeze(-1) + self._line[:width]
        into = self._store.permute(0, 2, 4, 1, 3, 5).unbind(0)
        of, flat = torch.tensor(rows, device=device), slots.flatten()
        at = (of if width == 1 else of.repeat_interleave(width), flat)
        close = rows[-1] == rows[0] + count - 1
        first = rows[0] if close else 0
        plan, alone = _Plan(keys, False), list[Alone]()
        if self._apart:
            plan = self._planned([start + width for start in starts], width) if close else _Plan(0, False)
            alone = [
                self._alone(line, row - first, start, width)
                for line, (row, start) in enumerate(zip(rows, starts, strict=True))
                if start + width > plan.shared
            ]
        self._clear(rows, plan.shared)
        read = self._known(slice(first, first + count) if close else slice(None))
        return Span(
            count, width, flat, keys, self._masks(slots, starts, plan.shared), into,
            _by_layer(read, max(keys, plan.shared)), self._scratch, plan.shared, at, None if close else of, alone,
            plan.dense,
        )  # fmt: skip

    def _planned(self, ends: Sequence[int], width: int) -> _Plan:
        shared, cost = shared_keys(ends)
        slots = self._store.shape[4]
        # Of many tokens at once the scores, which are then written out, would take too much memory.
        dense = self._many and len(ends) >= _MANY and width <= _FEW and len(ends) * slots * _DENSE < cost
        return _Plan(slots if dense else shared, dense)

    def _clear(self, rows: Sequence[int], slots: int) -> None:
        """Zeros where the rows would else read, beyond what was written, whatever the memory held before: a NaN there
        times an attention weight of 0 would still be NaN."""
        for row in rows:
            clean = self._clean[row]
            if clean < slots:
                end = -(-slots // _GRAIN) * _GRAIN
                self._store[:, :, row, :, clean:end] = 0.0
                self._clean[row] = end

    def _masks(self, slots: Tensor, starts: list[int], keys: int) -> Tensor | None:
        """The mask of rows that attend together. slots: int64 [n, width]."""
        width = slots.shape[1]
        if not keys or (width == 1 and min(starts) + 1 >= keys):
            return None
        if min(starts) == max(starts):
            slots = slots[:1]
        return self._mask(slots.view(-1, 1, width, 1), keys)

    def _alone(self, line: int, row: int, start: int, width: int) -> Alone:
        return Alone(line, row, start + width, None if width == 1 else self._causal(start, width))

    def _known(self, rows: slice) -> Tensor:
        """[2, layers, rows, kv_heads, slots, head_dim]."""
        return self._store[:, :, rows].transpose(0, 1)

    def _causal(self, start: int, width: int) -> Tensor:
        """The mask of one row's tokens, [width, start + width]."""
        most = self._store.shape[4]
        if width > _FEW:
            return self._mask(self._line[start : start + width].unsqueeze(-1), start + width)
        if self._corner.shape[-1] < most + _FEW:
            self._corner = self._mask(torch.arange(most, most + _FEW, device=self._line.device)[:, None], most + _FEW)
        return self._corner[:width, most - start : most + width]

    def _mask(self, positions: Tensor, keys: int) -> Tensor:
        hidden = torch.arange(keys, device=positions.device) > positions
        return self._store.new_zeros(hidden.shape).masked_fill_(hidden, -math.inf)

    def _reserve(self, rows: int, slots: int) -> None:
        _, _, have_rows, _, have_slots, _ = self._store.shape
        if rows <= have_rows and slots <= have_slots:
            return
        joined = rows > have_rows
        rows = max(rows, 2 * have_rows) if joined else have_rows
        # Few rows have room to spare; once there are many it is cut to what they need.
        fits = slots <= have_slots and not (joined and self._many)
        self._resize(rows, have_slots if fits else self._width(max(slots, *self.lengths)))

    def _width(self, slots: int) -> int:
        """How many slots to make where so many are needed."""
        if self._many:
            return -(-(slots + _AHEAD) // _FINE) * _FINE
        # Growing by a share keeps its total cost linear in what is stored.
        have = self._store.shape[4]
        share = 2 * have if have < _KEPT_SLOTS else have * 5 // 4
        if self._store.device.type == "cpu":
            share = max(share, _KEPT_SLOTS)
        return -(-max(slots, share) // _GRAIN) * _GRAIN

    @property
    def _many(self) -> bool:
        return self._dense and len(self.lengths) >= _MANY

    def _release(self) -> None:
        """Give room back that one long row took, once far less is needed."""
        have, most = self._store.shape[4], max(self.lengths, default=0)
        if have > 2 * self._width(most) if self._many else have > _KEPT_SLOTS and 4 * most <= have:
            self._spare = self._spare.new_empty(0)
            kept = self._width(most) if self._many else -(-max(most, _KEPT_SLOTS) // _GRAIN) * _GRAIN
            self._resize(self._store.shape[2], kept)
            self._spare = self._spare.new_empty(0)

    def _resize(self, rows: int, slots: int) -> None:
        layers, two, _, heads, _, dim = self._store.shape
        made = self._made(layers, two, rows, heads, slots, dim)
        for row, length in enumerate(self.lengths[: self._store.shape[2]]):
            made[:, :, row, :, :length] = self._store[:, :, row, :, :length]
        self._spare, self._whole = self._whole, self._spare
        if self._store.device.type != "cpu":
            self._spare = self._spare.new_empty(0)
        self._store, self._line = made, torch.arange(slots, device=made.device)
        self._clean = [*self.lengths, *[0] * (rows - len(self.lengths))]
        self._corner = made.new_empty(0)
        self._places.clear()
        self._spans.clear()

    def _made(self, *shape: int) -> Tensor:
        """Room of this shape, where the store was once if that is enough."""
        size = math.prod(shape)
        if not size <= self._spare.numel() <= 8 * size:
            self._spare = self._spare.new_empty(0)
            # On a CPU a quarter more, so that what comes next fits as well: only what is used is ever touched.
            self._spare = self._store.new_empty(size * 5 // 4 if self._store.device.type == "cpu" else size)
        return self._spare[:size].view(shape)


def _by_layer(known: Tensor, keys: int) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    of_keys, of_values = known.narrow(4, 0, keys).unbind(0)
    return of_keys.unbind(0), of_values.unbind(0)
