"""`SpecDecoder`: a target, a draft and a stop policy, put to use on prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from specdec.decode import Batch
from specdec.errors import SpecDecError
from specdec.head import AcceptanceHead
from specdec.head_files import load_head
from specdec.head_predictor import predictor_of
from specdec.models import Loaded, check_pair, feed, load
from specdec.params import Sampling
from specdec.policies import Policy
from specdec.prompts import Prompt
from specdec.rows import Finish, Row
from specdec.rules import Rules
from specdec.sampling import Draws, SeededDraws
from specdec.text import TextStream

_PIECE = 512
"""Tokens of one text in one pass."""
_KEPT = 768 << 20
"""Bytes of keys and values up to which their room is kept for the next call: what an operating system has to find anew,
page by page, takes as long as a dozen steps."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One finished text.

    tokens: the new ones, an end-of-text token included. text: without special tokens, cut before a stop string; ""
    where the model has no tokenizer. finish: "stop" (end of text or a stop string) or "length" (max_tokens or the
    context).
    logprobs: nats, one for each token, before the warpers; None unless asked for. passes: of the target (the prompt's
    not counted). drafted, accepted: tokens proposed, and those that stood. note: what was done otherwise than asked.
    """

    prompt_tokens: int
    tokens: tuple[int, ...]
    text: str
    finish: Finish
    logprobs: tuple[float, ...] | None
    passes: int
    drafted: int
    accepted: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """News of one row while it streams: which prompt, the tokens and text that are new, and the whole once it is
    over."""

    index: int
    tokens: tuple[int, ...]
    text: str
    done: Generation | None = None


class SpecDecoder:
    """Generates exactly what the target alone would (in law; at temperature 0 token for token), in fewer target passes.

    target, draft: model folders, or what `specdec.models.load` returned. policy: see `specdec.policies`; by default
    "specdec++" with a head (as it was tuned: `specdec.stopping`), "logistic" without one, "off" without a draft. head:
    a folder made by `python -m specdec train`, or a loaded head. batch: the most rows that decode together. fallback:
    the policy at temperatures the head was not trained for.
    Raises SpecDecError for a missing folder, two vocabularies, a head that does not fit the draft or is missing.
    """

    def __init__(
        self,
        target: str | Path | Loaded,
        draft: str | Path | Loaded | None = None,
        policy: str | Policy | None = None,
        *,
        head: str | Path | AcceptanceHead | None = None,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        batch: int = 64,
        fallback: str = "logistic",
    ) -> None:
        self.target = target if isinstance(target, Loaded) else load(target, dtype, device)
        self.draft = draft if isinstance(draft, Loaded) or draft is None else load(draft, dtype, device)
        if self.draft:
            check_pair(self.target, self.draft)
        self.head = self._fit_head(head)
        self.predictor = (
            predictor_of(self.head, self.draft.model.dtype, self.draft.model.device)
            if self.head and self.draft
            else None
        )
        self._rules = Rules(policy, fallback, self.head.config if self.head else None, drafts=self.draft is not None)
        if batch < 1:
            raise SpecDecError(f"batch must be ≥ 1; got {batch}")
        self._most = batch
        self._spare: list[Batch] = []

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling | Sequence[Sampling] | None = None
    ) -> list[Generation]:
        """One Generation for each prompt, in order. sampling: for all, or one each; a seed given for all is used by
        row i as seed + i (modulo 2^64), so that samples of one prompt differ."""
        done = {delta.index: delta.done for delta in self._run(self._rows(prompts, sampling, False), False)}
        return [result for _, result in sorted(done.items()) if result is not None]

    def stream(
        self, prompts: Sequence[Prompt], sampling: Sampling | Sequence[Sampling] | None = None
    ) -> Iterator[Delta]:
        """The same as it comes: tokens once they are accepted, text once no stop string can take it back."""
        return self._run(self._rows(prompts, sampling, True), True)

    def score(self, prompt: Prompt, continuation: Prompt) -> list[float]:
        """log p of each token of `continuation` after `prompt` under the target, nats; one pass, no draws."""
        before, after = self.prompt_ids(prompt), self.encode(continuation, special=False)
        # The last token is judged and not read.
        self._require_room(len(before) + len(after) - 2)
        if not after:
            return []
        with torch.inference_mode():
            cache = self.target.model.new_cache()
            row, whole = cache.add_row(), [*before, *after[:-1]]
            # In pieces, for a pass needs memory in proportion to its width times all before it.
            parts = [
                feed(self.target.model, cache, [row], [whole[at : at + _PIECE]]) for at in range(0, len(whole), _PIECE)
            ]
            hidden = torch.cat(parts)[len(before) - 1 :]
            lines = torch.log_softmax(self.target.model.logits(hidden), dim=-1)
            found: list[float] = (
                lines.gather(-1, torch.tensor(after, device=lines.device).unsqueeze(-1)).squeeze(-1).tolist()
            )
        return found

    def encode(self, prompt: Prompt, special: bool = True) -> list[int]:
        """Token ids of a text; ids are checked and returned. special: let the tokenizer add its own tokens."""
        ids = self._tokenizer().encode(prompt, add_special_tokens=special) if isinstance(prompt, str) else prompt
        bad = next((token for token in ids if not 0 <= token < self.target.model.vocab), None)
        if bad is not None:
            raise SpecDecError(
                f"prompt holds token {bad}; {self.target.model.name} has tokens 0…{self.target.model.vocab - 1}"
            )
        return list(ids)

    def row(
        self, index: int, prompt: Prompt, sampling: Sampling, *, draws: Draws | None = None, streaming: bool = False
    ) -> Row:
        """A row for `batch()`; for callers that let rows join and leave by themselves. draws: by default seeded."""
        ids = self.prompt_ids(prompt)
        policy, note = self._rules.at(sampling.temperature)
        room = self.target.model.context
        if sampling.max_tokens is not None:
            room = min(room, len(ids) + sampling.max_tokens)
        if sampling.stop:
            self._tokenizer()
        text = TextStream(self.decode, sampling.stop) if sampling.stop or streaming else None
        return Row(
            index, ids, len(ids), room, sampling, policy.for_row(), draws or SeededDraws(sampling.seed),
            self.target.eos, text, note,
        )  # fmt: skip

    def policy_at(self, temperature: float) -> tuple[Policy, str]:
        """The policy of a row, and a note where it is not the one that was chosen."""
        return self._rules.at(temperature)

    def batch(self) -> Batch:
        """An empty batch over this decoder's models."""
        return Batch(self.target.model, self.draft.model if self.draft else None, self.predictor)

    def decode(self, tokens: Sequence[int]) -> str:
        """Token ids → text, without special tokens."""
        text: str = self._tokenizer().decode(list(tokens), skip_special_tokens=True)
        return text

    def result(self, row: Row) -> Generation:
        """What became of a finished row."""
        finish = row.finish or "length"
        if row.text is not None and row.text.finish():
            finish = "stop"
        text = row.text.text if row.text is not None else self.decode(row.output) if self.target.tokenizer else ""
        return Generation(
            row.prompt, tuple(row.output), text, finish,
            tuple(row.logprobs) if row.sampling.logprobs else None, row.rounds, row.drafted, row.accepted, row.note,
        )  # fmt: skip

    def _run(self, rows: list[Row], streaming: bool) -> Iterator[Delta]:
        batch, waiting = self._spare.pop() if self._spare else self.batch(), list(rows)
        sent = {row.index: 0 for row in rows}
        while waiting or batch.rows:
            free = self._most - len(batch.rows)
            if free > 0 and waiting:
                batch.add(waiting[:free])
                waiting = waiting[free:]
            here = list(batch.rows)
            ended = batch.step()
            for row in here if streaming else ended:
                yield self._delta(row, sent)
        if batch.nbytes <= _KEPT and not self._spare:
            self._spare.append(batch)

    def _delta(self, row: Row, sent: dict[int, int]) -> Delta:
        done = self.result(row) if row.finish else None
        fresh = row.output[sent[row.index] :]
        sent[row.index] += len(fresh)
        text = row.text.release(final=done is not None) if row.text else done.text if done else ""
        return Delta(row.index, tuple(fresh), text, done)

    def _rows(
        self, prompts: Sequence[Prompt], sampling: Sampling | Sequence[Sampling] | None, streaming: bool
    ) -> list[Row]:
        if isinstance(prompts, str):
            raise SpecDecError("prompts must be a list of prompts; put the single prompt in a list")
        settings = self._settings(len(prompts), Sampling() if sampling is None else sampling)
        streams = streaming and self.target.tokenizer is not None
        return [
            self.row(i, prompt, one, streaming=streams)
            for i, (prompt, one) in enumerate(zip(prompts, settings, strict=True))
        ]

    @staticmethod
    def _settings(count: int, sampling: Sampling | Sequence[Sampling]) -> Sequence[Sampling]:
        if isinstance(sampling, Sampling):
            seed = sampling.seed
            return [sampling if seed is None else replace(sampling, seed=(seed + i) % 2**64) for i in range(count)]
        if len(sampling) != count:
            raise SpecDecError(
                f"{count} prompts but {len(sampling)} sampling settings: give one, or one for each prompt"
            )
        return sampling

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt as it is decoded from: an empty one begins with the model's first token. Raises
        SpecDecError where there is none, or where the context has no room for more."""
        ids = self.encode(prompt)
        if not ids and self.target.bos is not None:
            ids = [self.target.bos]
        if not ids:
            raise SpecDecError(
                f"empty prompt, and {self.target.model.name} has no beginning-of-text token: give at least one token"
            )
        self._require_room(len(ids))
        return ids

    def _require_room(self, tokens: int) -> None:
        if tokens >= self.target.model.context:
            raise SpecDecError(
                f"prompt of {tokens} tokens leaves no room in the context of {self.target.model.context} "
                f"of {self.target.model.name}: shorten it"
            )

    def _tokenizer(self) -> Any:
        if self.target.tokenizer is None:
            raise SpecDecError(
                f"model {self.target.model.name} has no tokenizer: give prompts as token ids, and no stop strings"
            )
        return self.target.tokenizer

    def _fit_head(self, head: str | Path | AcceptanceHead | None) -> AcceptanceHead | None:
        if head is None:
            return None
        if self.draft is None:
            raise SpecDecError("a head without a draft: pass draft=FOLDER, the model the head was trained on")
        loaded = head if isinstance(head, AcceptanceHead) else load_head(head)
        loaded.check(self.draft.model.width, self.draft.model.name)
        return loaded
