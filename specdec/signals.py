"""From the draft's distribution and hidden state to the floats a stop policy reads; only those that are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from specdec.policies.base import Need, Signal


class Predictor(Protocol):
    """The acceptance head as the loop sees it (`specdec.head.HeadPredictor`)."""

    @property
    def needs(self) -> frozenset[Need]:
        """The signals its features are made of."""
        ...

    def predict(
        self, hidden: Tensor, found: Sequence[Signal], places: Sequence[int], temperatures: Sequence[float]
    ) -> list[float]:
        """P(the target accepts the token), one for each line.

        hidden: float [n, width], the state q was made from. found: the token's other signals. places: 1 for the round's
        first token.
        """
        ...


def read_signals(needs: frozenset[Need], dist: Tensor, tokens: Sequence[int], greedy: bool = False) -> list[Signal]:
    """One Signal for each line of dist (float [n, vocab]); tokens: the drawn ones. `accept` is left at 1.

    greedy: every token is the most likely one of its line, so that its probability need not be looked up.
    """
    ones = [1.0] * len(tokens)
    of_token, peaks, entropies = ones, ones, [0.0] * len(tokens)
    if "probs" in needs:
        of_token = peaks = dist.amax(-1).tolist()
    if "probs" in needs and not greedy:
        at = torch.tensor(tokens, device=dist.device).unsqueeze(-1)
        of_token = dist.gather(-1, at).squeeze(-1).tolist()
    if "entropy" in needs:
        entropies = torch.special.entr(dist).sum(-1).tolist()
    return [Signal(*values) for values in zip(of_token, peaks, entropies, strict=True)]


def with_head(
    head: Predictor, hidden: Tensor, found: list[Signal], places: list[int], temperatures: list[float]
) -> list[Signal]:
    """The same signals with the head's prediction in `accept`."""
    chances = head.predict(hidden, found, places, temperatures)
    return [
        Signal(signal.token_prob, signal.max_prob, signal.entropy, chance)
        for signal, chance in zip(found, chances, strict=True)
    ]
