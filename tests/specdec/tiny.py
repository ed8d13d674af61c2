"""Small stand-ins: a model whose logits depend on every token its cache holds, and draws that enumerate all
outcomes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from specdec.cache import KVCache
from specdec.decode import Batch
from specdec.models import feed
from specdec.params import Sampling
from specdec.policies import Policy, Signal
from specdec.policies.base import Need
from specdec.rows import Row
from specdec.sampling import Draws, SeededDraws, Warper
from specdec.spans import Span

Law = dict[tuple[int, ...], float]


class TableModel:
    """hidden(position) = Σ decay^(distance)·vector(token) over the whole prefix *as the cache holds it*; logits =
    U·hidden.

    The cache stores the token ids, so a wrong rollback, a leaked padding token or a wrong row changes the logits.
    """

    def __init__(self, seed: int, vocab: int = 3, dtype: torch.dtype = torch.float64, context: int = 64) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.name, self.vocab, self.width, self.context = f"table{seed}", vocab, 4, context
        self.dtype, self.device = dtype, torch.device("cpu")
        self._vectors = torch.randn(vocab, 4, generator=generator, dtype=torch.float64).to(dtype)
        self._unembed = torch.randn(4, vocab, generator=generator, dtype=torch.float64).to(dtype)

    def new_cache(self) -> KVCache:
        return KVCache(1, 1, 1, self.dtype, self.device)

    def hidden(self, ids: Tensor, span: Span) -> Tensor:
        tokens, _ = span.update(0, ids.view(-1, 1, 1, 1).expand(-1, 2, 1, 1).to(self.dtype))
        known = tokens.reshape(span.rows, 1, span.keys)
        distance = span.positions.view(span.rows, span.width, 1) - torch.arange(span.keys)
        mask = span.mask if span.mask is not None else torch.zeros(1, dtype=self.dtype)
        weight = torch.exp(mask.reshape(-1, *mask.shape[-2:])) if mask.dim() > 1 else torch.ones(1, dtype=self.dtype)
        near = torch.where(distance >= 0, 0.6 ** distance.clamp(min=0), 0.0).to(self.dtype) * weight
        return torch.matmul(near, self._vectors[known.squeeze(1).long()]).reshape(-1, self.width)

    def read(self, ids: Tensor, span: Span) -> None:
        self.hidden(ids, span)

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden @ self._unembed


class StubHead:
    """A made-up acceptance head: reads the hidden state and the drawn token, and says something between 0 and 1."""

    needs: frozenset[Need] = frozenset({"probs"})

    def known(self, token_prob: float, temperature: float) -> float | None:
        return None if token_prob < 0.9 else token_prob

    def predict(
        self, hidden: Tensor, found: Sequence[Signal], places: Sequence[int], temperatures: Sequence[float]
    ) -> list[float]:
        states = torch.sigmoid(hidden.sum(-1)).tolist()
        return [0.5 * state + 0.5 * signal.token_prob for state, signal in zip(states, found, strict=True)]

    def predict_one(self, hidden: Tensor, found: Signal, place: int, temperature: float) -> float:
        return self.predict(hidden, [found], [place], [temperature])[0]


class Tape:
    """Draws that follow a given list of outcomes, then take the first possible one, noting the others as `untried`."""

    def __init__(self, path: Sequence[int]) -> None:
        self._path = list(path)
        self._at = 0
        self.weight = 1.0
        self.untried: list[list[int]] = []

    def categorical(self, probs: Tensor) -> int:
        weights = probs.tolist()
        total = sum(weights)
        return self._branch({index: weight / total for index, weight in enumerate(weights) if weight > 0})

    def accepted(self, chances: Sequence[float]) -> int:
        for index, chance in enumerate(chances):
            chance = min(1.0, chance)
            outcomes = {answer: weight for answer, weight in ((1, chance), (0, 1 - chance)) if weight > 0}
            if not self._branch(outcomes):
                return index
        return len(chances)

    def _branch(self, outcomes: dict[int, float]) -> int:
        if self._at == len(self._path):
            first, *others = outcomes
            self.untried += [[*self._path, other] for other in others]
            self._path.append(first)
        taken = self._path[self._at]
        self._at += 1
        self.weight *= outcomes[taken]
        return taken


def enumerate_law(run: Callable[[Tape], tuple[int, ...]]) -> Law:
    """The exact law of `run`'s result: every path of outcomes once, weighted by its probability."""
    law: Law = defaultdict(float)
    todo: list[list[int]] = [[]]
    while todo:
        tape = Tape(todo.pop())
        result = run(tape)
        law[result] += tape.weight
        todo += tape.untried
    return law


def target_law(model: TableModel, prompt: Sequence[int], sampling: Sampling, count: int) -> Law:
    """The law of the next `count` tokens by the chain rule, each prefix read from the start by a new cache."""
    if count == 0:
        return {(): 1.0}
    warper = Warper([sampling], model.dtype, model.device)
    cache = model.new_cache()
    logits = model.logits(feed(model, cache, [cache.add_row()], [list(prompt)])[-1:])
    seen = torch.zeros(1, model.vocab, dtype=torch.bool)
    seen[0, list(prompt)] = True
    probs = warper.probabilities(warper.penalised(logits, None, seen))[0].tolist()
    return {
        (token, *rest): chance * weight
        for token, chance in enumerate(probs)
        if chance > 0
        for rest, weight in target_law(model, [*prompt, token], sampling, count - 1).items()
    }


def make_row(
    prompt: Sequence[int], sampling: Sampling, policy: Policy, draws: Draws | None = None, index: int = 0
) -> Row:
    """A row of `sampling.max_tokens` new tokens that no token ends."""
    assert sampling.max_tokens is not None
    room = len(prompt) + sampling.max_tokens
    source = draws or SeededDraws(sampling.seed)
    return Row(index, list(prompt), len(prompt), room, sampling, policy.for_row(), source, frozenset())


def run_rows(batch: Batch, rows: Sequence[Row]) -> None:
    """Decode until every row has ended."""
    batch.add(rows)
    while batch.rows:
        batch.step()


def distance(one: Law, other: Law) -> float:
    """The largest difference between the probabilities of one outcome."""
    return max(abs(one.get(key, 0.0) - other.get(key, 0.0)) for key in {*one, *other})
