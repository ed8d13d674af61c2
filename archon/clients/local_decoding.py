"""The next tokens for the rows being written: the one interface between the engine and the way tokens are made.

`PlainDecoding` makes one token a row and step, and more where somebody drafted them: every token is drawn from the
model's own logits by the rule of `local_sampling`, and a drafted token stands when it is the one drawn. So an answer is
the same with any drafts and with none. `local_speculation` drafts, behind the same three methods.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from archon.clients.local_errors import first_line
from archon.clients.local_jobs import Job, Token
from archon.clients.local_model import LocalModel, Prefix, Row
from archon.clients.local_sampling import chances, draw_tokens
from archon.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor

_KEPT_BYTES = 1 << 26
"""Of prompts' caches, kept for further draws of the same prompt: 16,000 tokens of a zoo model."""
_PACKED_TOKENS = 512
"""Prompt tokens run in one forward: products are at full speed from there on, and what they make stays in the cache."""

_NONE: Mapping[Job, Sequence[int]] = MappingProxyType({})
Made = dict[Job, list[Token] | BaseException]
"""What each job got: its next tokens, or why it gets none."""


class Decoding(Protocol):
    """Makes tokens for many jobs."""

    def begin(self, jobs: Sequence[Job]) -> Made:
        """Admits jobs; the first tokens of each."""
        ...

    def next(self) -> Made:
        """The next tokens of every job that was begun and did not end, at least one each."""
        ...

    def end(self, job: Job) -> None:
        """Frees what a begun job holds. Jobs that got an error have ended already."""
        ...


class PlainDecoding:
    """One token a row and step. Draws of one prompt share its forward."""

    def __init__(self, model: LocalModel) -> None:
        self._model = model
        self._rows: dict[Job, Row] = {}
        self._prefixes: OrderedDict[tuple[int, ...], Prefix] = OrderedDict()

    def begin(self, jobs: Sequence[Job]) -> Made:
        import torch

        found = self._filled(list(dict.fromkeys(job.prompt for job in jobs)))
        made: Made = {job: error for job in jobs if isinstance(error := found[job.prompt], BaseException)}
        rows = []
        for job in jobs:
            prefix = found[job.prompt]
            if isinstance(prefix, Prefix):
                self._rows[job] = self._model.open(prefix, job)
                rows.append((self._rows[job], prefix.logits))
        if rows:
            made |= self._drawn([row for row, _ in rows], torch.stack([logits for _, logits in rows]))
        return made

    def next(self, drafts: Mapping[Job, Sequence[int]] = _NONE) -> Made:
        """See `Decoding.next`. drafts: tokens proposed to follow what each job has; they stand up to the first that
        is not the one drawn."""
        for job, row in self._rows.items():
            row.drafted = drafts.get(job, ())
        return self._drawn(*self._model.advance())

    @property
    def jobs(self) -> Collection[Job]:
        """The jobs under way."""
        return self._rows.keys()

    def end(self, job: Job) -> None:
        self._model.close(self._rows.pop(job))

    def _filled(self, prompts: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], Prefix | BaseException]:
        found: dict[tuple[int, ...], Prefix | BaseException] = {}
        for prompt in prompts:
            if prompt in self._prefixes:
                self._prefixes.move_to_end(prompt)
                found[prompt] = self._prefixes[prompt]
        for pack in _packs([prompt for prompt in prompts if prompt not in found]):
            found |= zip(pack, self._prefilled(pack), strict=True)
        self._keep(found)
        return found

    def _prefilled(self, pack: Sequence[tuple[int, ...]]) -> Sequence[Prefix | BaseException]:
        """A forward that fails is repeated prompt by prompt, so that the one to blame fails alone."""
        try:
            return self._model.prefill(pack)
        except (RuntimeError, IndexError, MemoryError) as error:
            if len(pack) == 1:
                return [RequestError(f"the model cannot process this prompt: {first_line(error)}")]
            return [self._prefilled([prompt])[0] for prompt in pack]

    def _keep(self, found: dict[tuple[int, ...], Prefix | BaseException]) -> None:
        self._prefixes.update({prompt: made for prompt, made in found.items() if isinstance(made, Prefix)})
        total = sum(prefix.size for prefix in self._prefixes.values())
        while total > _KEPT_BYTES:
            _, oldest = self._prefixes.popitem(last=False)
            total -= oldest.size

    def _drawn(self, rows: list[Row], logits: Tensor) -> Made:
        counts = [1 + len(row.drafted) for row in rows]
        finite = logits.isfinite().all(-1).tolist()
        made: Made = {}
        if not all(finite):
            ends = list(accumulate(counts))
            sound = [all(finite[end - count : end]) for count, end in zip(counts, ends, strict=True)]
            made = {row.owner: self._broken(row) for row, good in zip(rows, sound, strict=True) if not good}
            kept = [good for good, count in zip(sound, counts, strict=True) for _ in range(count)]
            logits = logits[[index for index, good in enumerate(kept) if good]]
            rows = [row for row, good in zip(rows, sound, strict=True) if good]
        return made | self._judged(rows, logits) if rows else made

    def _judged(self, rows: list[Row], logits: Tensor) -> Made:
        """What is drawn after each token fed; of a row's draws those up to the first that was not drafted."""
        places = [(row.owner, len(row.owner.tokens) + i) for row in rows for i in range(1 + len(row.drafted))]
        drawn = draw_tokens(logits, [job.draw for job, _ in places], [step for _, step in places])
        tokens = iter(_tokens([job for job, _ in places], drawn, logits))
        return {row.owner: self._stood(row, [next(tokens) for _ in range(1 + len(row.drafted))]) for row in rows}

    def _stood(self, row: Row, drawn: list[Token]) -> list[Token]:
        count = next((i for i, token in enumerate(row.drafted) if token != drawn[i].id), len(row.drafted))
        row.length -= len(row.drafted) - count
        row.token = drawn[count].id
        row.owner.note_round(len(row.drafted), count)
        return drawn[: count + 1]

    def _broken(self, row: Row) -> RequestError:
        self._model.close(row, broken=True)
        del self._rows[row.owner]
        return RequestError("the model's logits are not finite (NaN or infinite); its weights may be damaged")


def _tokens(jobs: Sequence[Job], tokens: Sequence[int], logits: Tensor) -> list[Token]:
    wanted = [index for index, job in enumerate(jobs) if job.logprobs]
    if not wanted:
        return [Token(token) for token in tokens]
    top = max(jobs[index].top_logprobs for index in wanted)
    known = dict(zip(wanted, chances(logits[wanted], [tokens[index] for index in wanted], top), strict=True))
    return [
        Token(token, known[index][0], tuple(known[index][1][: job.top_logprobs])) if index in known else Token(token)
        for index, (job, token) in enumerate(zip(jobs, tokens, strict=True))
    ]


def _packs(prompts: Sequence[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    packs: list[list[tuple[int, ...]]] = []
    size = 0
    for prompt in prompts:
        if not packs or size + len(prompt) > _PACKED_TOKENS:
            packs.append([])
            size = 0
        packs[-1].append(prompt)
        size += len(prompt)
    return packs
