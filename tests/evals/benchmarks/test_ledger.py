"""The generated benchmark: seeded, disjoint, never what the zoo was trained on."""

from __future__ import annotations

import pytest

from archon.errors import ConfigError
from archon.evals.benchmarks.base import SPLITS
from archon.evals.benchmarks.ledger import Ledger
from archon.protocols import Benchmark
from archon.zoo.ledger import split_of

SMALL = {"search": 8, "selection": 9, "held_out": 10}


def test_the_same_seed_makes_the_same_questions() -> None:
    first, again, other = (Ledger.load(seed=seed, **SMALL) for seed in (1, 1, 2))
    assert first.splits == again.splits
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    assert isinstance(first, Benchmark)


def test_sizes_are_as_asked_and_smaller_ones_are_the_beginning() -> None:
    whole, part = Ledger.load(**SMALL), Ledger.load(limit=4, **SMALL)
    assert [len(whole.questions(split)) for split in SPLITS] == [8, 9, 10]
    assert all(part.questions(split) == whole.questions(split)[:4] for split in SPLITS)


def test_splits_follow_the_familys_own_partition() -> None:
    benchmark = Ledger.load(**SMALL)
    assert all(split_of(q.text) == split for split in SPLITS for q in benchmark.questions(split))


def test_references_are_whole_numbers_and_kinds_are_kept() -> None:
    for question in Ledger.load(kinds=("shop",), **SMALL).questions("held_out"):
        assert question.reference is not None
        assert question.reference == str(int(question.reference))
        assert question.meta == {"kind": "shop"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kinds": ("shops",)}, "no kind 'shops'; known: "),
        ({"steps": (1, 9)}, r"steps=\(1, 9\) must lie within 2..4"),
        ({"largest": 5}, "option 'largest'"),
        ({"path": "x"}, "unknown option of benchmark 'ledger': 'path'"),
    ],
)
def test_wrong_options_are_told(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Ledger.load(**{**SMALL, **options})
