"""Samplers: every one proposes from the space, repeats itself under a seed, and finds what is good."""

from __future__ import annotations

import subprocess
import sys
from random import Random
from statistics import fmean

import pytest

from archon.errors import ConfigError, UnknownNameError
from archon.search import Space, load_space
from archon.search.build import FAMILY, Assignment
from archon.search.enumeration import assignments, systems
from archon.search.local import LocalSampler
from archon.search.proposer import Proposer
from archon.search.samplers import make_sampler, sampler_names
from archon.search.space import SubsetOf
from tests.search.fakes import space

NAMES = [name for name in sampler_names() if name != "gp"]


def worth(chosen: Assignment) -> float:
    """Any deterministic value: more models and samples are better, fusing is worse."""
    team, samples = chosen["team"], chosen["samples"]
    assert isinstance(team, tuple)
    assert isinstance(samples, int)
    return len(team) + samples / 10 - (chosen[FAMILY] == "fuse")


def walked(name: str, seed: int, trials: int = 24, batch: int = 4, of: Space | None = None) -> list[str]:
    """Hashes of what a sampler proposes, told in batches."""
    found = of or space()
    proposer = Proposer(found, make_sampler(name, found, seed), Random(seed), {})
    hashes: list[str] = []
    while len(hashes) < trials and (asked := proposer.ask(batch)):
        hashes += [each.architecture.hash for each in asked]
        for each in asked:
            proposer.tell(each, worth(each.chosen))
    return hashes


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_proposals_and_nothing_is_proposed_twice(name: str) -> None:
    first = walked(name, 5)
    assert first == walked(name, 5)
    assert len(set(first)) == len(first) == 24


@pytest.mark.parametrize("name", [name for name in NAMES if name != "grid"])
def test_another_seed_gives_other_proposals(name: str) -> None:
    assert walked(name, 5) != walked(name, 6)


@pytest.mark.parametrize("name", ["tpe", "local"])
def test_proposals_do_not_depend_on_the_hash_seed_of_the_process(name: str) -> None:
    code = f"from tests.search.test_samplers import walked; print(*walked({name!r}, 5, 16))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout.split()[-1]
        for seed in ("1", "2")
    }
    assert printed == {walked(name, 5, 16)[-1]}


@pytest.mark.parametrize("name", NAMES)
def test_every_system_is_proposed_before_the_space_is_used_up(name: str) -> None:
    tiny = space(limits={"calls": 3, "candidates": 3})
    every = {made.hash for _, made in systems(tiny)}
    assert set(walked(name, 1, trials=1000, of=tiny)) == every


@pytest.mark.parametrize("name", ["tpe", "local"])
def test_a_sampler_that_learns_beats_random_draws(name: str) -> None:
    # The shipped space has hundreds of systems, so that 50 trials do not use up the good ones.
    found = load_space("zoo")

    def late(sampler: str, seed: int) -> float:
        proposer = Proposer(found, make_sampler(sampler, found, seed), Random(seed), {})
        values: list[float] = []
        for _ in range(10):
            for each in proposer.ask(5):
                values.append(worth(each.chosen))
                proposer.tell(each, values[-1])
        return fmean(values[30:])

    assert fmean(late(name, seed) for seed in range(3)) > fmean(late("random", seed) for seed in range(3)) + 0.15


def test_the_grid_keeps_the_order_of_the_space_however_many_assignments_make_no_system() -> None:
    drafts = {"layer": "generator", "model": "fake/weak", "params": {"samples": "$samples"}}
    family = {"name": "vote", "choices": {"samples": [*range(300, 2, -1)]}, "stages": [drafts, {"layer": "vote"}]}
    many = space(families=[family], limits={"calls": 5, "candidates": 5})  # 295 of 298 are too large
    proposer = Proposer(many, make_sampler("grid", many, 0), Random(0), {})
    assert [each.chosen["samples"] for each in proposer.ask(9)] == [5, 4, 3]
    assert proposer.infeasible >= 295


def test_what_is_known_is_told_and_not_proposed() -> None:
    found = space()
    everything = [made.hash for _, made in systems(found)]
    proposer = Proposer(found, make_sampler("local", found, 1), Random(1), {}, dict.fromkeys(everything[1:], 0.5))
    (only,) = proposer.ask(4)
    assert only.architecture.hash == everything[0]
    assert proposer.duplicates > 0


def test_an_unknown_sampler_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="tpe"):
        make_sampler("annealing", space(), 0)


def test_gp_without_its_libraries_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archon.search.samplers.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install torch scipy"):
        make_sampler("gp", space(), 0)


def test_local_changes_are_small_and_stay_in_the_space() -> None:
    found = space()
    possible = [dict(each) for each in assignments(found)]
    sampler = LocalSampler(found, Random(2))
    start = {FAMILY: "vote", "team": ("fake/weak",), "samples": 2}
    for _ in range(50):
        changed = sampler._changed(start)
        assert changed in possible
        assert sum(changed[name] != start[name] for name in start) == 1


def test_a_set_never_grows_past_its_bound() -> None:
    found = space(families=[
        {
            "name": "vote",
            "choices": {"team": {"subset_of": ["fake/weak", "fake/fair", "fake/good"], "at_most": 2}},
            "stages": [{"layer": "generator", "models": "$team"}, {"layer": "vote"}],
        }
    ])  # fmt: skip
    choice = found.families[0].choices["team"]
    assert isinstance(choice, SubsetOf)
    for name in ("tpe", "local", "random"):
        proposer = Proposer(found, make_sampler(name, found, 3), Random(3), {})
        teams = [each.chosen["team"] for each in proposer.ask(6)]
        assert sorted(map(str, teams)) == sorted(map(str, choice.values))
