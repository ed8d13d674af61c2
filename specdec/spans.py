"""Where the tokens of one forward pass stand, and which of its rows attend together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

_ALONE = 160
"""What a row that attends alone costs beside its keys, in keys of rows that attend together (measured on a CPU: 10 µs
against 60 ns a key)."""


class Alone(NamedTuple):
    """A row of a pass that attends to its own `keys` slots apart from the others. line: its place in the pass. row: its
    place in `Span.known`. mask: [width, keys]; None if all is seen."""

    line: int
    row: int
    keys: int
    mask: Tensor | None


@dataclass(frozen=True, slots=True)
class Span:
    """Where the tokens of one forward pass stand: n rows of `width` tokens (shorter rows padded on the right).

    positions: int64 [n·width], from 0. keys: how many slots the longest row has. mask: 0 or -inf, [n or 1, 1, width,
    shared] or [width, keys]; None if all is seen. shared: how many slots the rows read together, all of `keys` unless
    some are `alone`; 0 = every row is. into: a layer's places to write to; for one row those of its tokens, [width, 2,
    kv_heads, head_dim], for several all of them, [rows, slots, 2, …], of which at = (row, slot) of each token are
    meant. known: all layers' keys, and all layers' values, each [n, kv_heads, keys, head_dim]; of all rows, where only
    those in `take` are meant. scratch: where a model keeps what it needs in every pass of n rows of this width.
    """

    rows: int
    width: int
    positions: Tensor
    keys: int
    mask: Tensor | None
    into: Sequence[Tensor]
    known: tuple[Sequence[Tensor], Sequence[Tensor]]
    scratch: dict[tuple[int, int], Any]
    shared: int
    at: tuple[Tensor, Tensor] | None = None
    take: Tensor | None = None
    alone: Sequence[Alone] = ()

    def update(self, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """Store this pass's keys and values, [n·width, 2, kv_heads, head_dim] (keys first); return all that the rows
        can see of the layer, each as `known` has it."""
        keys, values = self.store(layer, new)
        # Indexing with a tensor copies what it reads, a slice does not.
        return (keys, values) if self.take is None else (keys[self.take], values[self.take])

    def store(self, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """The same for `specdec.attention`, which knows what is meant: of all rows of `known`, not only of those in
        `take`; where rows lie in pages, as the span's class has it."""
        if self.at is None:
            self.into[layer].copy_(new)
        else:
            self.into[layer][self.at] = new
        return self.known[0][layer], self.known[1][layer]


@dataclass(frozen=True, slots=True, kw_only=True)
class PagedSpan(Span):
    """A pass whose rows attend page by page. `store` returns [pages, kv_heads, PAGE, head_dim] each.

    owner: int64 [pages], the line of the pass that each page belongs to. table: int64 [n, most pages of a line], where
    a line's pages stand among them; one of them again where it has fewer. mask: 0 or -inf, [pages, 1, width, PAGE].
    take: of all pages, those of this pass; None if all are.
    """

    owner: Tensor
    table: Tensor

    def store(self, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = Span.store(self, layer, new)
        return (keys, values) if self.take is None else (keys[self.take], values[self.take])

    def update(self, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        return self.store(layer, new)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatheredSpan(Span):
    """A pass of so many tokens that it reads a copy, of each row in one piece: `store` returns [n, kv_heads, keys,
    head_dim] each. pages: int64 [n, most pages of a row]; any of its own, where a row has fewer."""

    pages: Tensor

    def store(self, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = Span.store(self, layer, new)
        return self._gathered(keys), self._gathered(values)

    def _gathered(self, pool: Tensor) -> Tensor:
        whole = pool[self.pages].transpose(1, 2)  # [n, kv_heads, pages, PAGE, head_dim]
        return whole.flatten(2, 3)[:, :, : self.keys]


class FreshSpan(Span):
    """A pass of rows that held nothing before: `store` returns what it is given, [n, kv_heads, width, head_dim]
    each."""

    __slots__ = ()

    def store(self, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        Span.store(self, layer, new)
        keys, values = new.view(self.rows, self.width, *new.shape[1:]).permute(2, 0, 3, 1, 4)
        return keys, values


def shared_keys(ends: Sequence[int]) -> int:
    """How many keys rows should read together, so that it costs least: all rows read that many, and each row that sees
    more attends alone. 0 = every row alone. ends: keys each row sees."""
    rest, best, least = sum(ends) + _ALONE * len(ends), 0, sum(ends) + _ALONE * len(ends)
    for end in sorted(ends):
        rest -= end + _ALONE
        if len(ends) * end + rest <= least:
            best, least = end, len(ends) * end + rest
    return best
