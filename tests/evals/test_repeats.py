"""pass@k and majority@k against enumeration of every choice of k samples."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.evals.repeats import majority_at_k, pass_at_k


def test_pass_at_k_by_hand() -> None:
    """3 of 10 correct, k = 2: 1 − C(7,2)/C(10,2) = 1 − 21/45."""
    assert pass_at_k(10, 3, 2) == pytest.approx(24 / 45)
    assert pass_at_k(10, 0, 5) == 0
    assert pass_at_k(10, 8, 3) == 1


def test_pass_at_k_refuses_impossible_counts() -> None:
    with pytest.raises(ValueError, match="needs 1 ≤ k"):
        pass_at_k(5, 2, 6)


@given(st.lists(st.sampled_from("abc-"), min_size=1, max_size=8), st.integers(1, 8), st.sets(st.sampled_from("abc")))
def test_majority_at_k_equals_enumeration(samples: list[str], k: int, correct: set[str]) -> None:
    """Every choice of k samples voted out by hand; '-' is a sample without an answer."""
    k = min(k, len(samples))
    shares = []
    for chosen in combinations(range(len(samples)), k):
        votes = Counter(samples[index] for index in chosen if samples[index] != "-")
        leaders = [answer for answer in votes if votes[answer] == max(votes.values())]
        shares.append(len(correct.intersection(leaders)) / len(leaders) if leaders else 0.0)
    counts = Counter(sample for sample in samples if sample != "-")
    found = majority_at_k(counts, correct, k, silent=samples.count("-"))
    assert found == pytest.approx(sum(shares) / len(shares))


def test_majority_refuses_more_than_was_recorded() -> None:
    with pytest.raises(ValueError, match="3 recorded"):
        majority_at_k({"a": 2}, {"a"}, 4, silent=1)
