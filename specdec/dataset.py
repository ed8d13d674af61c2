"""Training data for the acceptance head: what the draft would propose along the target's own texts, and what became
of it.

On-policy: along a target text the draft rolls out tokens of its own, each replaced with probability `mix` by the
target's (2405.19715, section 3.3), and the target judges every token *on the drafted prefix* at the temperature served.
The next roll-out begins where the next round would: after the tokens that stand and one of the target's.
Two labels: min(1, p/q) of the drawn token, and Σ min(p, q), which does not depend on the draw.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specdec.cache import KVCache
from specdec.errors import SpecDecError
from specdec.head import features
from specdec.models import LanguageModel, feed
from specdec.params import Sampling
from specdec.sampling import SeededDraws, Warper, draw_lines
from specdec.signals import read_signals
from specdec.verify import overlap


@dataclass(frozen=True, slots=True)
class Text:
    """A prompt and the target's continuation of it at `sampling`. tokens: both, in one; prompt: length of the first
    part."""

    tokens: tuple[int, ...]
    prompt: int
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Examples:
    """n drafted tokens. hidden: float32 [n, width]. features: float32 [n, len(FEATURES)]. token, overlap: the two
    labels, float32 [n]. standing: float32 [n], the chance that all drafted tokens before it in its roll-out stand, so
    that it matters at all. window: int64 [n], the roll-out each belongs to. place: int64 [n], 1 for a roll-out's first
    token."""

    hidden: Tensor
    features: Tensor
    token: Tensor
    overlap: Tensor
    standing: Tensor
    window: Tensor
    place: Tensor

    def __len__(self) -> int:
        return len(self.token)

    def that_matter(self) -> Examples:
        """Without those before which some token certainly falls."""
        return self.some(self.standing > 0)

    def some(self, kept: Tensor) -> Examples:
        """Those of which `kept`, bool [n], says so."""
        return Examples(**{name: getattr(self, name)[kept] for name in self.__slots__})


@dataclass(slots=True)
class _Rollout:
    """One row on its way: `start` tokens of the text are given, `drafted` follow, of which the first `stood` stand."""

    text: Text
    start: int
    draws: SeededDraws
    drafted: list[int]
    alive: bool = True
    stood: int = 0


def roll_out(
    target: LanguageModel,
    draft: LanguageModel,
    texts: Sequence[Text],
    *,
    horizon: int,
    mix: float,
    seed: int,
    eos: frozenset[int],
    batch: int = 32,
) -> Examples:
    """Roll-outs of `horizon` tokens, round by round along every text; another seed, other draws."""
    chooser = random.Random(seed)
    parts: list[Examples] = []
    number = 0
    order = sorted(range(len(texts)), key=lambda i: len(texts[i].tokens))
    with torch.inference_mode():
        for at in range(0, len(order), batch):
            group = [texts[i] for i in order[at : at + batch]]
            rows = _Group(target, draft, group, horizon, mix, chooser, eos)
            for part, count in rows.windows(number):
                parts.append(part)
                number += count
    if not parts:
        raise SpecDecError("no text is long enough to roll the draft out on: give longer texts or a smaller horizon")
    return _concatenated(parts)


class _Group:
    """Texts rolled out side by side."""

    def __init__(
        self,
        target: LanguageModel,
        draft: LanguageModel,
        texts: Sequence[Text],
        horizon: int,
        mix: float,
        chooser: random.Random,
        eos: frozenset[int],
    ) -> None:
        self._target, self._draft, self._horizon, self._mix, self._eos = target, draft, horizon, mix, eos
        self._chooser = chooser
        self._caches = (target.new_cache(), draft.new_cache())
        for cache in self._caches:
            for _ in texts:
                cache.add_row()
        self._rows = [_Rollout(text, text.prompt, SeededDraws(chooser.getrandbits(62)), []) for text in texts]
        self._warper = Warper([text.sampling for text in texts], target.dtype, target.device)

    def windows(self, number: int) -> Iterator[tuple[Examples, int]]:
        """All roll-outs, a batch at a time, each with how many there are; they are numbered from `number`."""
        room = min(self._target.context, self._draft.context) - self._horizon
        while active := [i for i, row in enumerate(self._rows) if row.start < min(len(row.text.tokens), room)]:
            yield self._window(active, number), len(active)
            number += len(active)
            for index in active:
                row = self._rows[index]
                for cache in self._caches:
                    cache.roll_back(index, row.start)
                row.start, row.drafted, row.alive, row.stood = row.start + row.stood + 1, [], True, 0

    def _window(self, active: list[int], number: int) -> Examples:
        of = torch.tensor(active, device=self._target.device)
        steps = [self._draft_step(active, of) for _ in range(self._horizon)]
        p = self._target_lines(active, of)
        parts, standing = list[Examples](), torch.ones(len(active), device=of.device)
        for i, step in enumerate(steps):
            chances = _token_chances(step, p[:, i])
            parts.append(self._examples(step, p[:, i], chances, standing, active, i + 1, number))
            # A token of the target's own, put in the drafted one's place, stands.
            chances = torch.where(torch.tensor(step.own, device=of.device), chances, 1.0)
            standing = standing * chances
            for index, chance in zip(active, chances.tolist(), strict=True):
                row = self._rows[index]
                row.stood += row.stood == i and self._chooser.random() < chance
        return _concatenated(parts)

    def _draft_step(self, active: list[int], of: Tensor) -> _Step:
        feeds = [self._unread(index, self._caches[1]) for index in active]
        hidden = feed(self._draft, self._caches[1], active, feeds)
        hidden = hidden[torch.tensor([len(some) for some in feeds], device=hidden.device).cumsum(0) - 1]
        logits = self._draft.logits(hidden)
        q = self._warper.probabilities(logits, of)
        rows = [self._rows[index] for index in active]
        drawn = draw_lines(q, [row.draws for row in rows])
        alive = [row.alive for row in rows]
        own = [self._extend(row, token) for row, token in zip(rows, drawn, strict=True)]
        return _Step(hidden, q, self._warper.confidence(logits, q, of), drawn, own, alive)

    def _extend(self, row: _Rollout, token: int) -> bool:
        """Append the drawn token, or the target's in its place; whether it is the drawn one."""
        at = row.start + len(row.drafted)
        mixed = at < len(row.text.tokens) and self._chooser.random() < self._mix
        row.drafted.append(row.text.tokens[at] if mixed else token)
        # In use nothing is drafted after an end of text: what follows it here is rolled out, but is no example.
        row.alive = row.alive and row.drafted[-1] not in self._eos
        return not mixed

    def _unread(self, index: int, cache: KVCache) -> list[int]:
        """The row's text up to its start and what was drafted after it, without what the cache already holds."""
        row = self._rows[index]
        return [*row.text.tokens[: row.start], *row.drafted][cache.lengths[index] :]

    def _target_lines(self, active: list[int], of: Tensor) -> Tensor:
        """The target's warped distributions at the drafted places, [rows, horizon, vocab]."""
        # The last drafted token's own continuation is not wanted.
        feeds = [self._unread(index, self._caches[0])[:-1] for index in active]
        hidden = feed(self._target, self._caches[0], active, feeds)
        ends = torch.tensor([len(some) for some in feeds], device=hidden.device).cumsum(0).unsqueeze(-1)
        lines = (ends - self._horizon + torch.arange(self._horizon, device=hidden.device)).flatten()
        p = self._warper.probabilities(self._target.logits(hidden[lines]), of.repeat_interleave(self._horizon))
        return p.view(len(active), self._horizon, -1)

    def _examples(
        self, step: _Step, p: Tensor, chances: Tensor, standing: Tensor, active: list[int], place: int, number: int
    ) -> Examples:
        signals = read_signals(frozenset({"probs"}), step.shown, step.drawn)
        temperatures = [self._rows[index].text.sampling.temperature for index in active]
        lines = [features(signal, place, heat) for signal, heat in zip(signals, temperatures, strict=True)]
        kept = torch.tensor([own and alive for own, alive in zip(step.own, step.alive, strict=True)], device=p.device)
        return Examples(
            hidden=step.hidden[kept].float(),
            features=torch.tensor(lines, device=p.device)[kept],
            token=chances[kept],
            overlap=overlap(p, step.q)[kept].float().clamp(max=1.0),
            standing=standing[kept],
            window=torch.arange(number, number + len(active), device=p.device)[kept],
            place=torch.full((int(kept.sum()),), place, device=p.device),
        )


@dataclass(frozen=True, slots=True)
class _Step:
    """One drafted token of every active row. hidden: [rows, width]. q, shown: [rows, vocab], what was drawn from and
    what the signals read. own: whether the drawn token went into the roll-out. alive: whether its text was not over."""

    hidden: Tensor
    q: Tensor
    shown: Tensor
    drawn: list[int]
    own: list[bool]
    alive: list[bool]


def _token_chances(step: _Step, p: Tensor) -> Tensor:
    """min(1, p/q) of the drawn tokens, float32 [rows]."""
    at = torch.tensor(step.drawn, device=p.device).unsqueeze(-1)
    return (p.gather(-1, at) / step.q.gather(-1, at)).squeeze(-1).clamp(max=1.0).float()


def _concatenated(parts: Sequence[Examples]) -> Examples:
    names = Examples.__slots__
    return Examples(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})
