"""A trained head made ready for the loop: the same numbers as its module, in a fraction of the operations.

The calibration is folded into the last layer. Later changes of the head do not reach what was made of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from specdec.head import AcceptanceHead, ResidualBlock, features
from specdec.head_config import SCALES
from specdec.policies.base import Signal
from specdec.policies.logistic import logit, sigmoid
from specdec.signals import Predictor


def predictor_of(head: AcceptanceHead, dtype: torch.dtype, device: torch.device) -> Predictor:
    """For hidden states of this dtype on this device."""
    return BlockPredictor(head, dtype, device) if head.config.depth else LinearPredictor(head, dtype, device)


class _Predictor:
    """What all forms have in common."""

    def __init__(self, head: AcceptanceHead) -> None:
        self.needs, self._config = head.needs, head.config
        config = head.config
        self._sure = config.sure if config.features else 2.0
        self._warm = (config.sure_scale, math.exp(-config.sure_shift))
        self._cold = (config.greedy[0], math.exp(-config.greedy[1])) if config.greedy else None

    def known(self, token_prob: float, temperature: float) -> float | None:
        if temperature == 0 and self._cold:
            power, odds = self._cold
        elif token_prob < self._sure:
            return None
        else:
            power, odds = self._warm
        # σ(scale·logit q + shift), with q kept away from 0 and 1 as `logit` does.
        q = max(token_prob, 1e-6)
        return 1 / (1 + odds * math.pow(max(1 - q, 1e-6) / q, power))


class LinearPredictor(_Predictor):
    """A head without blocks (D = 0): one product with the hidden state. The features are numbers already and are
    weighed as such: beside a small draft a tensor of four of them would take as long as the product."""

    def __init__(self, head: AcceptanceHead, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(head)
        weight, bias = _accept(head)
        self._hidden = weight[: head.config.width].to(dtype=dtype, device=device).unsqueeze(-1)
        known = weight[head.config.width :].tolist() if head.config.features else [0.0] * len(SCALES)
        self._weights = tuple(share / scale for share, scale in zip(known, SCALES, strict=True))
        self._bias = bias.item()

    def predict(
        self, hidden: Tensor, found: Sequence[Signal], places: Sequence[int], temperatures: Sequence[float]
    ) -> list[float]:
        states = torch.mm(hidden, self._hidden).view(-1).tolist()
        return [self._chance(*known) for known in zip(states, found, places, temperatures, strict=True)]

    def predict_one(self, hidden: Tensor, found: Signal, place: int, temperature: float) -> float:
        # mm and not mv, whose code is cold beside a model that has no use for it: 5 µs for 13.
        return self._chance(torch.mm(hidden, self._hidden).item(), found, place, temperature)

    def _chance(self, state: float, signal: Signal, place: int, temperature: float) -> float:
        of_token, of_peak, of_place, of_temperature = self._weights
        known = of_token * logit(signal.token_prob) + of_peak * logit(signal.max_prob)
        known += of_place * place + of_temperature * temperature
        return _chance(state + known + self._bias, place, self._config.lag)


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


class BlockPredictor(_Predictor):
    """A head of D ≥ 1 blocks.

    It adds up x and what each block makes of the sum so far, and every later layer is linear in that sum. So what x
    and each block add to all later layers is one product: D + 1 products and D activations in all, in room that is
    kept. For one thread at a time.
    """

    def __init__(self, head: AcceptanceHead, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(head)
        layers = [module.linear for module in head.blocks if isinstance(module, ResidualBlock)]
        weight, bias = _accept(head)
        columns = [*(layer.weight.detach().t() for layer in layers), weight.unsqueeze(-1)]
        offsets = [*(layer.bias.detach() for layer in layers), bias.unsqueeze(-1)]
        later = [torch.cat(columns[i:], dim=-1) for i in range(len(columns))]
        self._later = [part.to(dtype=dtype, device=device).contiguous() for part in later]
        self._offsets = torch.cat(offsets).to(dtype=dtype, device=device)
        self._rooms: dict[int, _Room] = {}

    def predict(
        self, hidden: Tensor, found: Sequence[Signal], places: Sequence[int], temperatures: Sequence[float]
    ) -> list[float]:
        room = self._room(len(found))
        room.hidden.copy_(hidden)
        if self._config.features:
            lines = [features(*known) for known in zip(found, places, temperatures, strict=True)]
            room.features.copy_(torch.tensor(lines, dtype=hidden.dtype))
        torch.addmm(self._offsets, room.x, self._later[0], out=room.sums)
        for mine, rest, later in zip(room.blocks, room.rests, self._later[1:], strict=True):
            rest.addmm_(F.silu(mine, inplace=True), later)
        logits: list[float] = room.logits.tolist()
        return [_chance(value, place, self._config.lag) for value, place in zip(logits, places, strict=True)]

    def predict_one(self, hidden: Tensor, found: Signal, place: int, temperature: float) -> float:
        return self.predict(hidden, (found,), (place,), (temperature,))[0]

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


def _accept(head: AcceptanceHead) -> tuple[Tensor, Tensor]:
    """The last layer as one column and one number: the calibrated accept logit is the difference of its two
    outputs."""
    weight, bias, config = head.out.weight.detach(), head.out.bias.detach(), head.config
    return (weight[1] - weight[0]) * config.scale, (bias[1] - bias[0]) * config.scale + config.shift


def _chance(value: float, place: int, lag: int) -> float:
    """Of an accept logit. lag: as in `HeadConfig`; nothing is known of a round's first token where it is 1."""
    return 1.0 if lag and place == 1 else sigmoid(value)
