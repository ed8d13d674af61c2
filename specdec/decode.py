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
from specdec.prefill import prefill
from specdec.propose import Proposer
from specdec.rows import Draft, Row
from specdec.sampling import Warper, draw_lines, require_finite, seen
from specdec.signals import Predictor
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
        self._target, self._cache = target, target.new_cache()
        self._proposer = Proposer(draft, head) if draft else None
        self._group: Warper | None = None

    @property
    def nbytes(self) -> int:
        """Of the keys and values that there is room for."""
        return self._cache.nbytes + (self._proposer.nbytes if self._proposer else 0)

    def add(self, rows: Sequence[Row]) -> None:
        """Let rows join; their prompts are prefilled now, a prompt they share once."""
        with torch.inference_mode():
            at = [self._cache.add_row() for _ in rows]
            prefill(self._target, self._cache, rows, at)
        if self._proposer:
            self._proposer.add(rows)
        self.rows += rows
        self._group = None

    def step(self) -> list[Row]:
        """One round of every row; returns the rows that it ended (they have left the batch)."""
        if not self.rows:
            return []
        with torch.inference_mode():
            drafts = self._proposer.propose() if self._proposer else [Draft() for _ in self.rows]
            verdicts = self._verify(drafts)
            return self._settle(drafts, verdicts)

    def _verify(self, drafts: list[Draft]) -> list[Verdict]:
        """One target pass over every row's last token and what was drafted after it."""
        rows = self.rows
        feeds = [[row.tokens[-1], *draft.tokens] for row, draft in zip(rows, drafts, strict=True)]
        hidden = feed(self._target, self._cache, range(len(rows)), feeds)
        logits = raw = self._target.logits(hidden)
        counts = [len(some) for some in feeds]
        of = self._owners(counts)
        if self._warper.seen_matters:
            histories = [
                row.tokens + d.tokens[:n] for row, d in zip(rows, drafts, strict=True) for n in range(len(d.tokens) + 1)
            ]
            logits = self._warper.penalised(logits, of, seen(histories, logits))
        verdicts = self._judge(drafts, logits, counts, of)
        self._note_logprobs(drafts, verdicts, raw, counts)
        return verdicts

    def _owners(self, counts: list[int]) -> Tensor | None:
        """Which row each line of logits belongs to; None where line i is row i's, or all are one row's."""
        if len(counts) == 1 or max(counts) == 1:
            return None
        return torch.tensor([i for i, count in enumerate(counts) for _ in range(count)], device=self._target.device)

    def _judge(self, drafts: list[Draft], logits: Tensor, counts: list[int], of: Tensor | None) -> list[Verdict]:
        if self._warper.greedy:
            peaks, best = logits.max(-1)
            self._require_finite(peaks)
            tokens = iter(best.tolist())
            return [
                verify_greedy(d.tokens, [next(tokens) for _ in range(n)]) for d, n in zip(drafts, counts, strict=True)
            ]
        # Not `max`, which also tells where they stand and takes ten times as long.
        self._require_finite(logits.amax(-1))
        p, ends = self._warper.probabilities(logits, of), list(accumulate(counts))
        if max(counts) == 1:
            return [Verdict(0, token) for token in draw_lines(p, [row.draws for row in self.rows])]
        return [
            verify(draft.tokens, draft.q, p[end - count : end], row.draws)
            for row, draft, count, end in zip(self.rows, drafts, counts, ends, strict=True)
        ]

    def _require_finite(self, peaks: Tensor) -> None:
        require_finite(peaks.tolist(), f"target {self._target.name}")

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
        for row, draft, verdict in zip(self.rows, drafts, verdicts, strict=True):
            row.take(draft, verdict)
        self.roll_back()
        finished = [row for row in self.rows if row.finish]
        for row in finished:
            self.drop(row)
        return finished

    def roll_back(self) -> None:
        """Forget what both caches hold beyond the rows' tokens."""
        for index, row in enumerate(self.rows):
            self._cache.roll_back(index, len(row.tokens) - 1)
        if self._proposer:
            self._proposer.roll_back()

    def drop(self, row: Row) -> None:
        """Take a row out of the batch, finished or not; the last row moves into its place, in the caches as here."""
        index = next(i for i, other in enumerate(self.rows) if other is row)
        with torch.inference_mode():
            self._cache.drop_row(index)
        if self._proposer:
            self._proposer.drop(row)
        self.rows[index] = self.rows[-1]
        self.rows.pop()
        self._group = None

    @property
    def _warper(self) -> Warper:
        """Of the rows here; made when it is first wanted, for rows come and go several at a time."""
        if self._group is None:
            self._group = Warper([row.sampling for row in self.rows], self._target.dtype, self._target.device)
        return self._group
