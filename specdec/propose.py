"""The draft's side of a round: it proposes tokens for every row until the row's policy stops it.

Whoever verifies the proposals (`specdec.decode.Batch`, or a caller with a target of its own) keeps the rows' tokens up
to date; the draft reads what it has not seen when it is next asked, so it may be left out of any number of rounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from specdec.models import LanguageModel, feed
from specdec.policies.base import Need, Signal
from specdec.prefill import prefill
from specdec.rows import Draft, Row
from specdec.sampling import Warper, draw_lines, require_finite, seen
from specdec.signals import Predictor, read_signals, with_head
from specdec.solo import Solo


class Proposer:
    """Rows for which a draft proposes tokens. head: predicts acceptance, for the policies that need it."""

    def __init__(self, draft: LanguageModel, head: Predictor | None = None) -> None:
        self.rows: list[Row] = []
        self._draft, self._head, self._cache = draft, head, draft.new_cache()
        self._name = f"draft {draft.name}"
        self._regroup()

    @property
    def nbytes(self) -> int:
        """Of the keys and values that there is room for."""
        return self._cache.nbytes

    def add(self, rows: Sequence[Row]) -> None:
        """Let rows join. Nothing is computed for them before their first proposal."""
        for _ in rows:
            self._cache.add_row()
        self.rows += rows
        self._stale = True

    def drop(self, row: Row) -> None:
        """Take a row out; the last row moves into its place."""
        index = next(i for i, other in enumerate(self.rows) if other is row)
        with torch.inference_mode():
            self._cache.drop_row(index)
        self.rows[index] = self.rows[-1]
        self.rows.pop()
        self._stale = True

    def propose(self, among: int | None = None) -> list[Draft]:
        """Draft for each row until its policy stops it, its bound is reached, or the text would be over.

        among: how many rows decode together, which is what policies are told; by default all rows here.
        """
        among = len(self.rows) if among is None else among
        drafts = [Draft() for _ in self.rows]
        policies = {id(row.policy): row.policy for row in self.rows}
        if not any(policy.limit(among) for policy in policies.values()):
            return drafts
        bounds = [self._bound(index, among) for index in range(len(self.rows))]
        active = [index for index, bound in enumerate(bounds) if bound > 0]
        if active:
            with torch.inference_mode():
                self._propose(active, bounds, drafts, among)
        return drafts

    def roll_back(self) -> None:
        """Forget what was drafted beyond the rows' tokens."""
        for index, row in enumerate(self.rows):
            self._cache.roll_back(index, len(row.tokens) - 1)

    def unread(self) -> int:
        """Tokens that the draft has yet to read before it can propose."""
        return sum(len(row.tokens) - length for row, length in zip(self.rows, self._cache.lengths, strict=True))

    def _bound(self, index: int, among: int) -> int:
        """The most tokens to draft for a row. One that began without drafts goes on without them until it is alone: for
        what is left of it the draft would have to read it all (of 64 rows, it took longer than it saved)."""
        row = self.rows[index]
        if row.rounds and among > 1 and not self._cache.lengths[index]:
            return 0
        return min(row.most_drafts(among), self._draft.context - len(row.tokens) + 1)

    def _propose(self, active: list[int], bounds: list[int], drafts: list[Draft], among: int) -> None:
        if self._stale:
            # Only now: rows come and go several at a time, and where nothing is drafted for nothing.
            self._regroup()
        lengths, rows = self._cache.lengths, self.rows
        new = [index for index in active if lengths[index] == 0]
        if new:
            # Not when a row joins: where speculation does not pay, the draft need not read the prompt at all.
            prefill(self._draft, self._cache, [rows[index] for index in new], new)
        feeds = [rows[index].tokens[lengths[index] :] for index in active]
        if self._solo:
            self._solo.propose(drafts[0], feeds[0], bounds[0], among)
            return
        while active:
            self._draft_one(active, feeds, drafts)
            active = [i for i in active if len(drafts[i].tokens) < bounds[i] and _goes_on(rows[i], drafts[i], among)]
            feeds = [drafts[index].tokens[-1:] for index in active]

    def _draft_one(self, active: list[int], feeds: list[list[int]], drafts: list[Draft]) -> None:
        """One more token for each active row; feeds: what the draft has not consumed yet."""
        hidden = feed(self._draft, self._cache, active, feeds)
        if hidden.shape[0] > len(active):
            ends = torch.tensor([len(some) for some in feeds], device=hidden.device).cumsum(0) - 1
            hidden = hidden[ends]
        mine = [drafts[index] for index in active]
        tokens, dist, peaks = self._draw(self._draft.logits(hidden), active, mine)
        signals = self._read(dist, tokens, peaks, hidden, active, mine)
        for draft, token, signal in zip(mine, tokens, signals, strict=True):
            draft.tokens.append(token)
            draft.trail.append(signal)

    def _draw(self, logits: Tensor, active: list[int], drafts: list[Draft]) -> tuple[list[int], Tensor, list[float]]:
        """The drawn tokens, the distributions that signals are read from ([n, vocab]), and the largest of each; stores
        q in the drafts."""
        rows, warper = [self.rows[index] for index in active], self._warper
        of = None if len(active) == len(self.rows) else torch.tensor(active, device=logits.device)
        if warper.seen_matters:
            histories = [row.tokens + draft.tokens for row, draft in zip(rows, drafts, strict=True)]
            logits = warper.penalised(logits, of, seen(histories, logits))
        if warper.greedy:
            dist = torch.softmax(logits, dim=-1) if self._needs else logits
            largest, best = dist.max(-1)
            peaks: list[float] = largest.tolist()
            self._require_finite(peaks)
            return best.tolist(), dist, peaks
        q = warper.probabilities(logits, of)
        dist = warper.confidence(logits, q, of)
        peaks = dist.amax(-1).tolist()
        self._require_finite(peaks)
        for draft, line in zip(drafts, q.unbind(), strict=True):
            draft.q.append(line)
        return draw_lines(q, [row.draws for row in rows]), dist, peaks

    def _require_finite(self, peaks: list[float]) -> None:
        # Of logits or of probabilities: a NaN or an infinite logit makes its line's probabilities NaN.
        require_finite(peaks, self._name)

    def _read(
        self,
        dist: Tensor,
        tokens: list[int],
        peaks: list[float],
        hidden: Tensor,
        active: list[int],
        drafts: list[Draft],
    ) -> list[Signal]:
        found = read_signals(self._needs, dist, tokens, self._warper.greedy, peaks)
        if self._asked is None:
            return found
        places = [len(draft.tokens) + 1 for draft in drafts]
        return with_head(self._asked, hidden, found, places, [self.rows[i].sampling.temperature for i in active])

    def _regroup(self) -> None:
        """Work out anew what depends on which rows are here."""
        self._stale = False
        self._warper = Warper([row.sampling for row in self.rows], self._draft.dtype, self._draft.device)
        self._needs: frozenset[Need] = frozenset().union(*(row.policy.needs for row in self.rows))
        self._asked = self._head if "head" in self._needs else None
        if self._asked is not None:
            self._needs |= self._asked.needs
        self._solo = (
            Solo(self._name, self._draft, self._cache, self.rows[0], self._warper, self._needs, self._asked)
            if len(self.rows) == 1
            else None
        )


def _goes_on(row: Row, draft: Draft, among: int) -> bool:
    return draft.tokens[-1] not in row.eos and row.policy.go_on(draft.trail, among)
