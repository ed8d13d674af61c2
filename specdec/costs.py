"""Measuring what speculation costs on this machine, for this pair, at one batch size: whole rounds, so that nothing is
left out but the second token a draft reads after a round that stood as a whole."""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from specdec.decoder import SpecDecoder
from specdec.errors import SpecDecError
from specdec.models import LanguageModel, feed, read
from specdec.params import Sampling
from specdec.policies import Policy
from specdec.policies.fixed import Fixed
from specdec.policies.product import Product
from specdec.policies.specdecpp import SpecDecPP
from specdec.policies.svip import Svip
from specdec.rows import Row
from specdec.sampling import SeededDraws
from specdec.threshold import Costs

LENGTHS = (1, 2, 4, 8)
_FEWEST = 8
"""Repeats that are made however long they take."""
_RAGGED = 5
"""Rows' lengths differ by less than this."""

Timed = tuple[str, int, Callable[[], float]]
"""A kind of step, how long it is, and one go at it: seconds."""


@dataclass(frozen=True, slots=True)
class Measured:
    """plain: seconds of one plain step of the whole batch; all else in its units. rule: costs with q(x) read of each
    token, as simple rules do. entropies: with the entropy of q read. fixed: with nothing read. costs: as the pair
    drafts, its head evaluated for the share of tokens that it is asked about and the others known by q; `rule` without
    one. reading: of one token of a prompt by the draft."""

    plain: float
    costs: Costs
    rule: Costs
    entropies: Costs
    fixed: Costs
    reading: float


def measure(
    pair: SpecDecoder,
    *,
    batch: int = 1,
    temperature: float = 0.0,
    prompt: int = 64,
    repeats: int = 100,
    seconds: float = 10.0,
) -> Measured:
    """Time plain steps, speculative rounds of several lengths and target passes of several widths, interleaved.

    Of the repeats the lower quartile counts: what else runs on the machine adds time, and the fastest is luck. After
    so many seconds no more than a few repeats are made.
    The slope of the round's time over its length is c + c_v, that of the target's pass over its width c_v, and the
    rest of the round's time at length 0 the overhead. What is read of each token is told by the longest rounds.
    """
    context = min(model.model.context for model in (pair.target, pair.draft) if model)
    prompt = min(prompt, context - LENGTHS[-1] - 2)
    if prompt < _RAGGED:
        raise SpecDecError(f"a context of {context} tokens is too short to measure what drafting costs")
    times: dict[tuple[str, int], list[float]] = defaultdict(list)
    timed, start = list(_steps(pair, batch, temperature, prompt)), time.monotonic()
    for turn in range(repeats + 1):
        if turn > _FEWEST and time.monotonic() - start > seconds:
            break
        for kind, length, step in timed:
            took = step()
            # The first turn reads the prompt into the draft and warms the caches.
            if turn:
                times[kind, length].append(took)
    typical = {kind: sorted(found)[len(found) // 4] for kind, found in times.items()}
    return _costs(typical, pair, batch, temperature, prompt)


def _costs(
    typical: dict[tuple[str, int], float], pair: SpecDecoder, size: int, temperature: float, prompt: int
) -> Measured:
    plain, longest = typical["plain", 0], LENGTHS[-1]
    per_token, start = _line([(k, typical["rule", k] / plain) for k in LENGTHS])
    verify, _ = _line([(k, typical["pass", k] / plain) for k in LENGTHS])
    # On a busy machine a fitted line can slope or start too low; a cost below 0 would make drafting free.
    per_token = max(per_token, 1e-3)
    verify = min(max(0.0, verify), per_token)
    rule = Costs(draft=per_token - verify, verify=verify, overhead=max(0.0, start - 1.0))

    def beside(kind: str) -> float:
        return (typical[kind, longest] - typical["rule", longest]) / (longest * plain)

    costs = rule
    if pair.head:
        # Of several rows all are asked about where one is.
        asked = 1.0 - (1.0 - pair.head.config.asked_at(temperature)) ** size
        known = max(0.0, beside("known"))
        costs = replace(rule, draft=rule.draft + known + asked * max(0.0, beside("head") - known))
    # No reading is free, whatever the clock says.
    entropies = replace(rule, draft=rule.draft + max(0.0, beside("entropies")))
    fixed = replace(rule, draft=max(0.0, rule.draft + min(0.0, beside("fixed"))))
    return Measured(plain, costs, rule, entropies, fixed, typical["reading", prompt] / (prompt * plain))


def _steps(pair: SpecDecoder, size: int, temperature: float, prompt: int) -> Iterator[Timed]:
    """What is timed in each turn."""

    def run(policy: Policy, of: SpecDecoder = pair) -> Callable[[], float]:
        return _Repeated(of, size, temperature, prompt, policy)

    longest = LENGTHS[-1]
    yield "plain", 0, run(Fixed(0))
    # Bounds that never stop a draft: the signals are read, and the length is still k.
    yield from (("rule", k, run(Product(0.0, k))) for k in LENGTHS)
    yield "entropies", longest, run(Svip(math.inf, maximum=longest))
    yield "fixed", longest, run(Fixed(longest))
    if pair.head:
        for kind, sure in (("head", 2.0), ("known", 0.0)):
            of = SpecDecoder(pair.target, pair.draft, head=pair.head.with_sure(sure))
            yield kind, longest, run(SpecDecPP(1.0, maximum=longest), of)
    yield from (("pass", k, _Pass(pair.target.model, size, prompt, k + 1)) for k in LENGTHS)
    if pair.draft:
        yield "reading", prompt, _Reading(pair.draft.model, prompt)


class _Repeated:
    """One round, time and again, of rows of random tokens that no end of text stops; their lengths differ a little, as
    in use."""

    def __init__(self, pair: SpecDecoder, size: int, temperature: float, prompt: int, policy: Policy) -> None:
        generator = torch.Generator().manual_seed(0)
        whole: list[list[int]] = torch.randint(pair.target.model.vocab, (size, prompt), generator=generator).tolist()
        lines = [line[: max(1, prompt - i % _RAGGED)] for i, line in enumerate(whole)]
        room, sampling = pair.target.model.context, Sampling(temperature=temperature)
        rows = [
            Row(i, line, len(line), room, sampling, policy, SeededDraws(i), eos=frozenset())
            for i, line in enumerate(lines)
        ]
        self._batch = pair.batch()
        self._batch.add(rows)

    def __call__(self) -> float:
        seconds = _timed(self._batch.step)
        for row in self._batch.rows:
            del row.tokens[row.prompt :]
        self._batch.roll_back()
        return seconds


class _Pass:
    """One pass over `width` tokens of each row behind `known` tokens of it, time and again."""

    def __init__(self, model: LanguageModel, size: int, known: int, width: int) -> None:
        self._model, self._cache = model, model.new_cache()
        self._rows = [self._cache.add_row() for _ in range(size)]
        self._known = [max(0, known - row % _RAGGED) for row in self._rows]
        self._fed = [[1] * width] * size
        if known:
            self._feed([[1] * length for length in self._known])

    def __call__(self) -> float:
        for row, length in zip(self._rows, self._known, strict=True):
            self._cache.roll_back(row, length)
        return _timed(self._again)

    def _again(self) -> None:
        self._feed(self._fed)

    def _feed(self, tokens: Sequence[Sequence[int]]) -> None:
        with torch.inference_mode():
            self._model.logits(feed(self._model, self._cache, self._rows, tokens))


class _Reading:
    """A prompt read, time and again."""

    def __init__(self, model: LanguageModel, tokens: int) -> None:
        self._model, self._cache, self._fed = model, model.new_cache(), [[1] * tokens]
        self._rows = [self._cache.add_row()]

    def __call__(self) -> float:
        self._cache.roll_back(0, 0)
        return _timed(self._again)

    def _again(self) -> None:
        with torch.inference_mode():
            read(self._model, self._cache, self._rows, self._fed)


def _timed(step: Callable[[], object]) -> float:
    clock = _clock()
    start = clock()
    step()
    return clock() - start


def _clock() -> Callable[[], float]:
    """One thread's own time does not tell what else the machine does; several threads' time has to be the wall's."""
    return time.thread_time if torch.get_num_threads() == 1 else time.perf_counter


def _line(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Least squares: slope and value at 0."""
    mean_x = statistics.fmean(x for x, _ in points)
    mean_y = statistics.fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    return slope, mean_y - slope * mean_x
