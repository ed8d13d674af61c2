"""Where the truth is known: searches over recorded answers of real models, against the best of all 21,699 systems.

The truth is computed apart, with arrays, from the recording. `bench/replay_search.py` runs the whole engine on many
seeds; here the sampler is told the truth's values on many seeds, and the whole engine runs once.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import numpy as np
import pytest

from archon.search import Space
from archon.search.build import FAMILY, architecture
from archon.search.proposer import Proposer
from archon.search.samplers import make_sampler
from archon.types import derived_seed
from bench import replay_search as bench

DATA = Path(os.environ.get("ARCHON_TEST_DATA", "../shared/data"))
World = tuple[bench.Recording, Space, dict[str, bench.Bits]]


@pytest.fixture(scope="module")
def world() -> World:
    if not (DATA / "gsm8k" / "recorded.parquet").is_file():
        pytest.skip(f"no gsm8k/recorded.parquet in {DATA}; set ARCHON_TEST_DATA to the folder of recorded answers")
    pytest.importorskip("pyarrow", reason="the recording is a Parquet file")
    recording = bench.read(DATA)
    space = bench.space_of(DATA, recording)
    return recording, space, bench.exhaustive(recording, space)


def test_the_truth_has_every_system_and_the_published_best_setting(world: World) -> None:
    recording, _, truth = world
    assert len(truth) == bench.SYSTEMS == sum((20, 190, 1140, 4845, 15504))
    alone = {name: (recording.codes[index] == 0).mean() for index, name in enumerate(recording.names)}
    assert max(alone.values()) == pytest.approx(0.942, abs=0.0005)  # gpt-4o-mini, cot+re2: 1,243 of 1,319


def test_two_percent_of_the_systems_find_one_within_half_a_point_of_the_best(world: World) -> None:
    gaps = [_gap(world, seed) for seed in range(4)]
    assert max(gaps) <= 0.5 + 1e-9, gaps


def test_the_engine_measures_what_the_truth_says_and_its_verdict_is_mcnemars(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, _, truth = world
    monkeypatch.setattr(bench, "TRIALS", 40)
    monkeypatch.setattr(bench, "FINALISTS", 12)
    monkeypatch.setattr(bench, "SPLITS", {"search": 150, "selection": 300, "held_out": 869})
    found = bench.run(DATA, recording, truth, seed=1)
    assert found["quality"] == pytest.approx(found["quality_apart"])
    assert found["verdict"] == found["verdict_apart"]
    assert found["evaluated"] <= 60


def _gap(world: World, seed: int) -> float:
    """How far the pick is below the best system on selection, in points: the search's own sampler and proposer, with
    the truth's values in place of measurements."""
    recording, space, truth = world
    lots = [split for split, size in bench.SPLITS.items() for _ in range(size)]
    Random(seed).shuffle(lots)
    dealt = np.array(lots)
    on_search, on_selection = dealt == "search", dealt == "selection"
    singles = [architecture(space, {FAMILY: "vote", "team": (name,)}).hash for name in recording.names]
    known = {each: float(truth[each][on_search].mean()) for each in singles}
    proposer = Proposer(space, make_sampler("local", space, seed), Random(derived_seed(seed, "proposer")), {}, known)
    for _ in range(bench.TRIALS // 8):
        for each in proposer.ask(8):
            proposer.tell(each, float(truth[each.architecture.hash][on_search].mean()))
    assert len(proposer.known) <= 0.02 * bench.SYSTEMS
    finalists = sorted(proposer.known, key=lambda each: -proposer.known[each])[: bench.FINALISTS]
    best = max(float(bits[on_selection].mean()) for bits in truth.values())
    return 100 * (best - max(float(truth[each][on_selection].mean()) for each in finalists))
