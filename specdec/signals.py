"""From the draft's distribution and hidden state to the floats a stop policy reads; only those that are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from specdec.policies.base import Need, Signal


class Predictor(Protocol):
    """The acceptance head as the loop sees it (`specdec.head_predictor.predictor_of`)."""

    @property
    def needs(self) -> frozenset[Need]:
        """The signals its features are made of."""
        ...

    def known(self, token_prob: float, temperature: float) -> float | None:
        """P(the target accepts the token) where q(x) alone tells it; None where `predict` has to."""
        ...

    def predict(
        self, hidden: Tensor, found: Sequence[Signal], places: Sequence[int], temperatures: Sequence[float]
    ) -> list[float]:
        """P(the target accepts the token), one for each line.

        hidden: float [n, width], the state q was made from. found: the token's other signals. places: 1 for the round's
        first token.
        """
        ...

    def predict_one(self, hidden: Tensor, found: Signal, place: int, temperature: float) -> float:
        """The same of one line."""
        ...


def read_signals(
    needs: frozenset[Need],
    dist: Tensor,
    tokens: Sequence[int],
    greedy: bool = False,
    peaks: Sequence[float] | None = None,
) -> list[Signal]:
    """One Signal for each line of dist (float [n, vocab]); tokens: the drawn ones. `accept` is left at 1.

    greedy: every token is the most likely one of its line. peaks: the largest of each line, where that is known.
    """
    if not needs:
        return [Signal()] * len(tokens)
    of_token: Sequence[float] = [1.0] * len(tokens)
    if "probs" in needs:
        peaks = dist.amax(-1).tolist() if peaks is None else peaks
        of_token = peaks if greedy else _chances(dist, tokens)
    else:
        peaks = of_token
    entropies = torch.special.entr(dist).sum(-1).tolist() if "entropy" in needs else [0.0] * len(tokens)
    return [Signal(*values) for values in zip(of_token, peaks, entropies, strict=True)]


def _chances(dist: Tensor, tokens: Sequence[int]) -> list[float]:
    at = torch.tensor(tokens, device=dist.device).unsqueeze(-1)
    found: list[float] = dist.gather(-1, at).squeeze(-1).tolist()
    return found


def with_head(
    head: Predictor, hidden: Tensor, found: list[Signal], places: Sequence[int], temperatures: Sequence[float]
) -> list[Signal]:
    """The same signals with the head's prediction in `accept`. places, temperatures: as for `predict`, which is not
    called where nothing has to be predicted: of most tokens q(x) says enough."""
    known = [head.known(signal.token_prob, heat) for signal, heat in zip(found, temperatures, strict=True)]
    chances = [chance for chance in known if chance is not None]
    if len(chances) < len(known):
        predicted = head.predict(hidden, found, places, temperatures)
        chances = [new if chance is None else chance for chance, new in zip(known, predicted, strict=True)]
    return [
        Signal(of_token, peak, entropy, chance)
        for (of_token, peak, entropy, _), chance in zip(found, chances, strict=True)
    ]
