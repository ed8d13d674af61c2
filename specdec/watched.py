"""A decoder that notes how long its target took to read prompts, so that reading and decoding can be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from specdec.decode import Batch
from specdec.decoder import SpecDecoder
from specdec.rows import Row


class Watched(SpecDecoder):
    """The draft reads a prompt when it first proposes; that is not counted here, for it is part of what speculation
    costs."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._joined = list[float]()

    @property
    def reading(self) -> float:
        """Seconds that the target has spent on prompts so far."""
        return sum(self._joined)

    def batch(self) -> Batch:
        return _Noting(self, self._joined)


class _Noting(Batch):
    """A batch that notes in `joined` how many seconds it took rows to join. (Not its decoder's, which keeps it.)"""

    def __init__(self, like: SpecDecoder, joined: list[float]) -> None:
        super().__init__(like.target.model, like.draft.model if like.draft else None, like.predictor)
        self._joined = joined

    def add(self, rows: Sequence[Row]) -> None:
        start = perf_counter()
        super().add(rows)
        self._joined.append(perf_counter() - start)
