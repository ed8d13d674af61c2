"""A trained head made ready for the loop: the same numbers as its module, in a fraction of the operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from specdec.head import AcceptanceHead, ResidualBlock, features
from specdec.policies.base import Signal
from specdec.policies.logistic import logit, sigmoid


class _Room(NamedTuple):
    """Where a prediction is computed. x: the head's input, made of hidden and features. sums: what each layer is given
    so far, the layers side by side; blocks: of each block, rests: of all layers after it, logits: of the last layer."""

    x: Tensor
    hidden: Tensor
    features: Tensor
    sums: Tensor
    blocks: list[Tensor]
    rests: list[Tensor]
    logits: Tensor


class HeadPredictor:
    """A trained head made ready for the loop (see `specdec.signals.Predictor`), its calibration folded into the last
    layer. Later changes of the head do not reach it.

    The head adds up x and what each block makes of the sum so far, and every later layer is linear in that sum. So what
    x and each block add to all later layers is one product: D + 1 products and D activations in all, in room that is
    kept. For one thread at a time.
    """

    def __init__(self, head: AcceptanceHead, dtype: torch.dtype, device: torch.device) -> None:
        self.needs, self._config = head.needs, head.config
        self.sure = head.config.sure if head.config.features else 2.0
        layers = [module.linear for module in head.blocks if isinstance(module, ResidualBlock)]
        # The accept logit is the difference of the two outputs, so one column is enough.
        weight, bias = head.out.weight.detach(), head.out.bias.detach()
        scale, shift = head.config.scale, head.config.shift
        columns = [*(layer.weight.detach().t() for layer in layers), (weight[1:] - weight[:1]).t() * scale]
        offsets = [*(layer.bias.detach() for layer in layers), (bias[1:] - bias[:1]) * scale + shift]
        later = [torch.cat(columns[i:], dim=-1) for i in range(len(columns))]
        self._later = [part.to(dtype=dtype, device=device).contiguous() for part in later]
        self._offsets = torch.cat(offsets).to(dtype=dtype, device=device)
        self._rooms: dict[int, _Room] = {}

    def predict(
        self, hidden: Tensor, found: Sequence[Signal], places: Sequence[int], temperatures: Sequence[float]
    ) -> list[float]:
        sure = [signal.token_prob >= self.sure for signal in found]
        if all(sure):
            return [self._known(signal) for signal in found]
        room = self._room(len(found))
        room.hidden.copy_(hidden)
        if self._config.features:
            lines = [features(*known) for known in zip(found, places, temperatures, strict=True)]
            room.features.copy_(torch.tensor(lines, dtype=hidden.dtype))
        torch.addmm(self._offsets, room.x, self._later[0], out=room.sums)
        for mine, rest, later in zip(room.blocks, room.rests, self._later[1:], strict=True):
            rest.addmm_(F.silu(mine, inplace=True), later)
        logits: list[float] = room.logits.tolist()
        answers = zip(logits, sure, found, strict=True)
        chances = [self._known(signal) if plain else sigmoid(value) for value, plain, signal in answers]
        if self._config.lag:
            chances = [1.0 if place == 1 else chance for place, chance in zip(places, chances, strict=True)]
        return chances

    def _known(self, signal: Signal) -> float:
        """Of a token that the blocks are not asked about."""
        return sigmoid(self._config.sure_scale * logit(signal.token_prob) + self._config.sure_shift)

    def _room(self, count: int) -> _Room:
        if count not in self._rooms:
            # Not tensors of the inference mode alone: the room outlives the call, and the mode.
            with torch.inference_mode(False):
                self._rooms[count] = self._new_room(count)
        return self._rooms[count]

    def _new_room(self, count: int) -> _Room:
        width, depth = self._config.inputs, len(self._later) - 1
        x = self._offsets.new_zeros(count, width)
        sums = self._offsets.new_zeros(count, len(self._offsets))
        blocks = [sums[:, i * width : (i + 1) * width] for i in range(depth)]
        rests = [sums[:, (i + 1) * width :] for i in range(depth)]
        hidden = self._config.width
        return _Room(x, x[:, :hidden], x[:, hidden:], sums, blocks, rests, sums[:, -1])
