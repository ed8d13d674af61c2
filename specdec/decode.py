"""The loop, as the paper has it: draft, decide, verify, roll back. Every row of a batch does so at its own length.

SpecDec++ (arXiv 2405.19715, algorithm 1) over the acceptance rule of 2211.17192. Rows may join and leave between
steps. Row i of `rows` is row i of both caches; the target's cache always holds all of the row's tokens but the last,
the draft's at most so.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from specdec.models import LanguageModel, feed
from specdec.policies.base import Need, Signal
from specdec.prefill import prefill
from specdec.rows import Draft, Row
from specdec.sampling import Warper, draw_lines, require_finite
from specdec.signals import Predictor, read_signals, with_head
from specdec.verify import Verdict, verify, verify_greedy


class Batch:
    """Rows that decode together.

    target, draft: models of one vocabulary; without a draft every step is a plain one. head: predicts acceptance, for
    the policies that need it.
    """

    def __init__(
        self, target: LanguageModel, draft: LanguageModel | None = None, head: Predictor | None = None
    ) -> None:
        self.rows: list[Row] = []
        self._target, self._draft, self._head = target, draft, head
        self._target_cache = target.new_cache()
        self._draft_cache = draft.new_cache() if draft else None
        self._regroup()

    def add(self, rows: Sequence[Row]) -> None:
        """Let rows join; their prompts are prefilled now, a prompt they share once."""
        with torch.inference_mode():
            at = [self._target_cache.add_row() for _ in rows]
            if self._draft_cache:
                for _ in rows:
                    self._draft_cache.add_row()
            prefill(self._target, self._target_cache, rows, at)
        self.rows += rows
        self._regroup()

    def step(self) -> list[Row]:
        """One round of every row; returns the rows that it ended (they have left the batch)."""
        if not self.rows:
            return []
        with torch.inference_mode():
            drafts = self._propose()
            verdicts = self._verify(drafts)
            return self._settle(drafts, verdicts)

    def _propose(self) -> list[Draft]:
        """Draft for each row until its policy stops it, its bound is reached, or the text would be over."""
        drafts = [Draft() for _ in self.rows]
        if self._draft is None or self._draft_cache is None:
            return drafts
        bounds = [self._bound(row, self._draft.context) for row in self.rows]
        active = [index for index, bound in enumerate(bounds) if bound > 0]
        self._prefill_draft(active)
        lengths = self._draft_cache.lengths
        feeds = [self.rows[index].tokens[lengths[index] :] for index in active]
        while active:
            self._draft_one(active, feeds, drafts)
            active = [i for i in active if len(drafts[i].tokens) < bounds[i] and self._goes_on(self.rows[i], drafts[i])]
            feeds = [drafts[index].tokens[-1:] for index in active]
        return drafts

    def _bound(self, row: Row, context: int) -> int:
        return min(row.most_drafts(len(self.rows)), context - len(row.tokens) + 1)

    def _goes_on(self, row: Row, draft: Draft) -> bool:
        return draft.tokens[-1] not in row.eos and row.policy.go_on(draft.trail, len(self.rows))

    def _prefill_draft(self, active: Sequence[int]) -> None:
        # Not in `add`: where speculation does not pay, the draft need not read the prompt at all.
        assert self._draft is not None
        assert self._draft_cache is not None
        lengths = self._draft_cache.lengths
        new = [index for index in active if lengths[index] == 0]
        if new:
            prefill(self._draft, self._draft_cache, [self.rows[index] for index in new], new)

    def _draft_one(self, active: list[int], feeds: list[list[int]], drafts: list[Draft]) -> None:
        """One more token for each active row; feeds: what the draft has not consumed yet."""
        assert self._draft is not None
        assert self._draft_cache is not None
        hidden = feed(self._draft, self._draft_cache, active, feeds)
        if hidden.shape[0] > len(active):
            ends = torch.tensor([len(some) for some in feeds], device=hidden.device).cumsum(0) - 1
            hidden = hidden[ends]
        mine = [drafts[index] for index in active]
        tokens, dist = self._draw(self._draft.logits(hidden), active, mine)
        for draft, token, signal in zip(mine, tokens, self._read(dist, tokens, hidden, active, mine), strict=True):
            draft.tokens.append(token)
            draft.trail.append(signal)

    def _draw(self, logits: Tensor, active: list[int], drafts: list[Draft]) -> tuple[list[int], Tensor]:
        """The drawn tokens, and the distributions the signals are read from ([n, vocab]); stores q in the drafts."""
        assert self._draft is not None
        rows, warper = [self.rows[index] for index in active], self._warper
        of = None if len(active) == len(self.rows) else torch.tensor(active, device=logits.device)
        if warper.seen_matters:
            histories = [row.tokens + draft.tokens for row, draft in zip(rows, drafts, strict=True)]
            logits = warper.penalised(logits, of, _seen(histories, logits))
        peaks, best = logits.max(-1)
        require_finite(peaks.tolist(), f"draft {self._draft.name}")
        if warper.greedy:
            return best.tolist(), torch.softmax(logits, dim=-1) if self._needs else logits
        q = warper.probabilities(logits, of)
        for draft, line in zip(drafts, q, strict=True):
            draft.q.append(line)
        return draw_lines(q, [row.draws for row in rows]), warper.confidence(logits, q, of)

    def _read(
        self, dist: Tensor, tokens: list[int], hidden: Tensor, active: list[int], drafts: list[Draft]
    ) -> list[Signal]:
        found = read_signals(self._needs, dist, tokens, self._warper.greedy)
        if "head" not in self._needs or self._head is None:
            return found
        places = [len(draft.tokens) + 1 for draft in drafts]
        return with_head(self._head, hidden, found, places, [self.rows[i].sampling.temperature for i in active])

    def _verify(self, drafts: list[Draft]) -> list[Verdict]:
        """One target pass over every row's last token and what was drafted after it."""
        rows = self.rows
        feeds = [[row.tokens[-1], *draft.tokens] for row, draft in zip(rows, drafts, strict=True)]
        hidden = feed(self._target, self._target_cache, range(len(rows)), feeds)
        logits = raw = self._target.logits(hidden)
        counts = [len(some) for some in feeds]
        of = torch.tensor([i for i, count in enumerate(counts) for _ in range(count)], device=logits.device)
        if self._warper.seen_matters:
            histories = [
                row.tokens + d.tokens[:n] for row, d in zip(rows, drafts, strict=True) for n in range(len(d.tokens) + 1)
            ]
            logits = self._warper.penalised(logits, of, _seen(histories, logits))
        peaks, best = logits.max(-1)
        require_finite(peaks.tolist(), f"target {self._target.name}")
        verdicts = self._judge(drafts, logits, best, counts, of)
        self._note_logprobs(drafts, verdicts, raw, counts)
        return verdicts

    def _judge(self, drafts: list[Draft], logits: Tensor, best: Tensor, counts: list[int], of: Tensor) -> list[Verdict]:
        if self._warper.greedy:
            tokens = iter(best.tolist())
            return [
                verify_greedy(d.tokens, [next(tokens) for _ in range(n)]) for d, n in zip(drafts, counts, strict=True)
            ]
        p, ends = self._warper.probabilities(logits, of), list(accumulate(counts))
        return [
            verify(draft.tokens, torch.stack(draft.q) if draft.q else p[:0], p[end - count : end], row.draws)
            for row, draft, count, end in zip(self.rows, drafts, counts, ends, strict=True)
        ]

    def _note_logprobs(self, drafts: list[Draft], verdicts: list[Verdict], raw: Tensor, counts: list[int]) -> None:
        """log p of the tokens that stand, under the unwarped target."""
        start = 0
        for row, draft, verdict, count in zip(self.rows, drafts, verdicts, counts, strict=True):
            if row.sampling.logprobs:
                chosen = torch.tensor([*draft.tokens[: verdict.accepted], verdict.token], device=raw.device).unsqueeze(
                    -1
                )
                lines = torch.log_softmax(raw[start : start + len(chosen)], dim=-1)
                row.logprobs += lines.gather(-1, chosen).squeeze(-1).tolist()
            start += count

    def _settle(self, drafts: list[Draft], verdicts: list[Verdict]) -> list[Row]:
        """Give each row its tokens, roll the caches back to what stands, and let finished rows leave."""
        for index, (row, draft, verdict) in enumerate(zip(self.rows, drafts, verdicts, strict=True)):
            row.take(draft, verdict)
            self._target_cache.roll_back(index, len(row.tokens) - 1)
            if self._draft_cache:
                self._draft_cache.roll_back(index, len(row.tokens) - 1)
        finished = [row for row in self.rows if row.finish]
        for row in finished:
            self.drop(row)
        return finished

    def drop(self, row: Row) -> None:
        """Take a row out of the batch, finished or not; the last row moves into its place, in the caches as here."""
        index = next(i for i, other in enumerate(self.rows) if other is row)
        self._target_cache.drop_row(index)
        if self._draft_cache:
            self._draft_cache.drop_row(index)
        self.rows[index] = self.rows[-1]
        self.rows.pop()
        self._regroup()

    def _regroup(self) -> None:
        """Work out anew what depends on which rows are here."""
        settings = [row.sampling for row in self.rows]
        self._warper = Warper(settings, self._target.dtype, self._target.device)
        self._needs: frozenset[Need] = frozenset().union(*(row.policy.needs for row in self.rows))
        if "head" in self._needs and self._head is not None:
            self._needs |= self._head.needs


def _seen(histories: Sequence[Sequence[int]], logits: Tensor) -> Tensor:
    """bool [n, vocab]: which tokens each line's history holds."""
    seen = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
    for line, tokens in zip(seen, histories, strict=True):
        line[torch.tensor(tokens, device=logits.device)] = True
    return seen
