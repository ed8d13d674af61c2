"""A decoder that notes how long its target took to read prompts, so that reading and decoding can be told apart."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from specdec.decode import Batch
from specdec.decoder import SpecDecoder
from specdec.rows import Row


class Watched(SpecDecoder):
    """reading: seconds that the target has spent on prompts so far. The draft reads a prompt when it first proposes,
    and that is not counted here: it is part of what speculation costs."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.reading = 0.0

    def batch(self) -> Batch:
        return _Noting(self)


class _Noting(Batch):
    """A batch that tells its decoder how long it took rows to join."""

    def __init__(self, decoder: Watched) -> None:
        super().__init__(decoder.target.model, decoder.draft.model if decoder.draft else None, decoder.predictor)
        self._decoder = decoder

    def add(self, rows: Sequence[Row]) -> None:
        start = time.perf_counter()
        super().add(rows)
        self._decoder.reading += time.perf_counter() - start
