"""Which keys a token sees: its own and those before it. Masks of 0 and -inf are cut from two that are kept: to make one
anew takes as long as a small layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_NARROW = 32
"""Tokens of one row in a pass up to which its mask is cut from one that is kept."""


class Masks:
    """For rows of up to `slots` slots."""

    def __init__(self, slots: int, dtype: torch.dtype, device: torch.device) -> None:
        self._slots = slots
        self._empty = torch.empty(0, dtype=dtype, device=device)
        self._corner = self._edge = self._empty

    def of_one(self, start: int, width: int) -> Tensor:
        """That of `width` tokens of a row from position `start` on, [width, start + width]."""
        if width > _NARROW:
            return self._made(start, width)
        if not len(self._corner):
            self._corner = self._made(self._slots, _NARROW)
        return self._corner[:width, self._slots - start : self._slots + width]

    def of_some(self, positions: Tensor, width: int, keys: int) -> Tensor:
        """That of n rows beside `keys` keys, [n, 1, width, keys]. positions: int64 [n·width]."""
        # Window i of the edge is what a token sees that stands `slots` - i places from the first key.
        lines = self._whole_edge().unfold(0, keys, 1).index_select(0, self._slots - positions)
        return lines.view(-1, 1, width, keys)

    def _whole_edge(self) -> Tensor:
        """A token behind all slots there are, which it sees with itself, and as many keys beyond, which it does not."""
        if not len(self._edge):
            self._edge = self._empty.new_zeros(2 * self._slots + 1)
            self._edge[self._slots + 1 :] = -math.inf
        return self._edge

    def _made(self, start: int, width: int) -> Tensor:
        positions = torch.arange(start, start + width, device=self._empty.device)
        hidden = torch.arange(start + width, device=self._empty.device) > positions.unsqueeze(-1)
        return self._empty.new_zeros(hidden.shape).masked_fill_(hidden, -math.inf)
