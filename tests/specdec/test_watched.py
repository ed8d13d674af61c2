"""A watched decoder says what any other does, and counts the time of reading prompts alone."""

from __future__ import annotations

from itertools import count

import pytest

from specdec import watched as module
from specdec.decoder import SpecDecoder
from specdec.params import Sampling
from specdec.watched import Watched
from tests.specdec.test_bench import PROMPTS, pair


def test_it_writes_what_any_decoder_does() -> None:
    models, sampling = pair(), Sampling(temperature=0.7, max_tokens=9, seed=4)
    known = SpecDecoder(models.target, models.draft, "fixed:3", batch=2)
    watched = Watched(models.target, models.draft, "fixed:3", batch=2)
    found = watched.generate(PROMPTS, sampling)
    assert [one.tokens for one in found] == [one.tokens for one in known.generate(PROMPTS, sampling)]


def test_every_joining_is_counted_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr(module, "perf_counter", lambda: float(next(ticks)))
    models = pair()
    watched = Watched(models.target, models.draft, "fixed:3", batch=2)
    assert watched.reading == 0.0
    watched.generate(PROMPTS, Sampling(max_tokens=9, seed=4))
    # Two rows join at once and the third when a place is free; the clock is read around each joining alone.
    assert watched.reading == 2.0
    assert next(ticks) == 4
