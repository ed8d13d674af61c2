"""The draft of a row that decodes alone, token by token, with nothing done that only several rows need: beside a small
draft every list is felt, and every tensor made anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specdec.cache import KVCache
from specdec.models import LanguageModel, feed
from specdec.policies.base import Need, Signal
from specdec.rows import Draft, Row
from specdec.sampling import Warper, draw_one, require_finite, seen
from specdec.signals import Predictor


@dataclass(frozen=True, slots=True)
class Solo:
    """The only row of `cache`. needs: signals its policy reads, and those that `head` does; head: where it is asked.
    name: of the model, for messages."""

    name: str
    model: LanguageModel
    cache: KVCache
    row: Row
    warper: Warper
    needs: frozenset[Need]
    head: Predictor | None

    def propose(self, draft: Draft, unread: Sequence[int], bound: int, among: int) -> None:
        """Draft up to `bound` ≥ 1 tokens. unread: what the model has not consumed yet, at least one token."""
        model, row, cache = self.model, self.row, self.cache
        hidden = feed(model, cache, (0,), (unread,))[-1:]
        while True:
            token, drawn = self._next(hidden, draft)
            draft.tokens.append(token)
            if len(draft.tokens) >= bound or token in row.eos or not row.policy.go_on(draft.trail, among):
                return
            hidden = model.hidden(drawn, cache.open_next(0))

    def _next(self, hidden: Tensor, draft: Draft) -> tuple[int, Tensor]:
        """One more token, also as int64 [1]; its q and signals go to the draft."""
        logits, warper = self.model.logits(hidden), self.warper
        if warper.seen_matters:
            logits = warper.penalised(logits, None, seen([self.row.tokens + draft.tokens], logits))
        dist = self._dist(logits)
        if warper.greedy:
            largest, drawn = dist.max(-1)
            peak = of_token = largest.item()
            require_finite((peak,), self.name)
            token = int(drawn.item())
        else:
            line = dist[0]
            peak = line.max().item()
            # Before anything is drawn: a NaN or an infinite logit makes its line's probabilities NaN.
            require_finite((peak,), self.name)
            drawn = draw_one(line, self.row.draws)
            token = int(drawn.item())
            of_token = line[token].item() if "probs" in self.needs else 1.0
            draft.q.append(line)
        draft.trail.append(self._signal(hidden, dist, of_token, peak, len(draft.trail) + 1))
        return token, drawn

    def _dist(self, logits: Tensor) -> Tensor:
        """What is drawn from, or at temperature 0 what signals are read from; the logits where none are."""
        if not self.warper.greedy:
            return self.warper.probabilities(logits)
        return torch.softmax(logits, dim=-1) if self.needs else logits

    def _signal(self, hidden: Tensor, dist: Tensor, of_token: float, peak: float, place: int) -> Signal:
        needs, head = self.needs, self.head
        if "probs" not in needs:
            of_token = peak = 1.0
        entropy = torch.special.entr(dist).sum().item() if "entropy" in needs else 0.0
        if head is None:
            return Signal(of_token, peak, entropy)
        heat = self.row.sampling.temperature
        accept = head.known(of_token, heat)
        if accept is None:
            accept = head.predict_one(hidden, Signal(of_token, peak, entropy), place, heat)
        return Signal(of_token, peak, entropy, accept)
