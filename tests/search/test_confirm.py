"""The winner's choice, the equal-cost vote and the verdict: arithmetic on small, hand-made measurements."""

from __future__ import annotations

from dataclasses import replace

import pytest

from archon.errors import ConfigError
from archon.evals.evaluation import Evaluation, Outcome
from archon.evals.metrics import paired_difference
from archon.search.baselines import single, vote
from archon.search.confirm import equal_samples, pick_winner
from archon.search.objective import best_first, objective
from archon.search.output import pareto
from archon.search.store import Measurement
from archon.search.verdict import outcome, verdict
from archon.types import Score, Usage


def measured(name: str, scores: str, usd: float | None = 1.0, calls: int = 1) -> Measurement:
    """`scores` holds one digit a question ("-" = unscored); the costs are those of one question."""
    usage = Usage(calls=calls, cost_usd=usd)
    values = [None if digit == "-" else float(digit) for digit in scores]
    outcomes = tuple(Outcome(str(n), Score(value), list_usage=usage) for n, value in enumerate(values))
    architecture = single(name, 0.5)
    return Measurement("selection", "selection", architecture, name, Evaluation(outcomes, len(outcomes)))


def test_the_best_on_selection_wins_and_the_cheapest_among_equals() -> None:
    dear, cheap, poor = measured("dear", "1110", 3), measured("cheap", "0111", 2), measured("poor", "1100", 1)
    assert pick_winner([dear, cheap, poor], 0.0) is cheap
    assert pick_winner([poor, dear], 0.0) is dear


def test_finalists_are_compared_on_the_questions_scored_for_all_of_them() -> None:
    # Over its own scored questions `lucky` has 1.0 and `steady` 0.75; on the three both have, they are 1.0 and 1.0.
    lucky, steady = measured("lucky", "111-", 2), measured("steady", "1110", 1)
    assert pick_winner([lucky, steady], 0.0) is steady


def test_what_could_not_be_scored_never_wins_and_shrinks_no_comparison() -> None:
    unscored, barely, whole = (
        measured("unscored", "----", 0.1),
        measured("barely", "1---", 0.1),
        measured("whole", "0101"),
    )
    assert unscored.quality is None
    assert pick_winner([unscored, barely, whole], 1.0) is whole
    with pytest.raises(ConfigError, match="the scorer fails"):
        pick_winner([unscored], 0.0)
    assert pareto([unscored, whole]) == [whole]
    assert best_first([unscored, whole], 0.0) == [whole, unscored]


def test_an_unknown_price_never_counts_as_cheap() -> None:
    assert pick_winner([measured("unknown", "11", None), measured("known", "11", 5)], 0.0).name == "known"


def test_how_long_a_machine_took_decides_nothing() -> None:
    """Seconds of a local model grow with the load of the machine; the same search must end with the same winner."""

    def slowed(given: Measurement, seconds: float) -> Measurement:
        slow = [
            replace(each, latency=seconds, list_usage=replace(each.list_usage, seconds=seconds))
            for each in given.evaluation.outcomes
        ]
        return replace(given, evaluation=Evaluation(tuple(slow), len(slow)))

    first, second = measured("first", "1110"), measured("second", "0111")
    for tolerance in (0.0, 1.0):
        chosen = pick_winner([first, second], tolerance).name
        assert pick_winner([slowed(first, 9.0), slowed(second, 1.0)], tolerance).name == chosen
        assert pick_winner([slowed(first, 1.0), slowed(second, 9.0)], tolerance).name == chosen
    assert slowed(first, 9.0).cost_key == first.cost_key
    assert objective(slowed(first, 9.0), 0.5) == objective(first, 0.5)


def test_within_a_tolerance_the_cheapest_wins() -> None:
    # Differences best − cheap: 1, 0, 0, 0; mean 1/4, population variance 1/4 − 1/16 = 3/16, standard error
    # √(3/16 / 4) = 0.2165. So 0.25 is 1.15 standard errors.
    best, cheap = measured("best", "1111", 3), measured("cheap", "0111", 1)
    assert pick_winner([best, cheap], 1.0) is best
    assert pick_winner([best, cheap], 1.2) is cheap


@pytest.mark.parametrize(
    ("winner", "sample", "expected"),
    [
        ((0.50, 5), (0.10, 1), (5, "list cost")),
        ((0.59, 5), (0.10, 1), (5, "list cost")),  # ⌊5.9⌋
        ((0.3, 9), (0.1, 1), (3, "list cost")),  # 0.3 / 0.1 = 2.9999999999999996 in floats
        ((0.05, 1), (0.10, 1), (1, "list cost")),  # never less than one
        ((None, 7), (0.10, 1), (7, "calls")),
        ((0.50, 7), (None, 1), (7, "calls")),
        ((0.0, 7), (0.0, 1), (7, "calls")),  # a free model: every number of samples costs the same
    ],
)
def test_the_vote_gets_as_many_samples_as_the_winner_pays_for(
    winner: tuple[float | None, int], sample: tuple[float | None, int], expected: tuple[int, str]
) -> None:
    assert equal_samples(measured("w", "1", *winner), measured("s", "1", *sample)) == expected


def compared(ours: str, theirs: str) -> str:
    return outcome(paired_difference([float(c) for c in ours], [float(c) for c in theirs]))


def test_better_and_worse_need_the_interval_and_the_exact_test() -> None:
    # Ten questions apart, all in one direction: exact McNemar p = 2 / 2**10 = 0.002.
    assert compared("1" * 20, "0" * 10 + "1" * 10) == "better"
    assert compared("0" * 10 + "1" * 10, "1" * 20) == "worse"
    # Five apart: p = 2 / 2**5 = 0.0625, not below 0.05.
    assert compared("1" * 20, "0" * 5 + "1" * 15) == "undecided"
    assert compared("1" * 20, "1" * 20) == "undecided"


def test_the_verdict_says_it_in_plain_words() -> None:
    winner, rival = measured("winner", "1" * 20), measured("rival", "0" * 10 + "1" * 10)
    crowd = measured("crowd", "1" * 20)
    vs_single, vs_vote = winner.evaluation.minus(rival.evaluation), winner.evaluation.minus(crowd.evaluation)
    said = verdict(winner, rival, crowd, vs_single, vs_vote)
    assert "is better than the best single model (rival) (+50.0 points" in said
    assert "cannot be told apart from the equal-cost vote (+0.0 points" in said
    itself = verdict(rival, rival, crowd, vs_single, vs_vote)
    assert itself == "No system beat the best single model: the winner is that model, rival."


def test_the_pareto_front_holds_what_nothing_beats_on_both() -> None:
    points = [
        measured("cheap", "1000", 1),
        measured("middle", "1100", 2),
        measured("dear-and-worse", "1000", 3),
        measured("best", "1110", 4),
        measured("as-good-but-dearer", "1110", 5),
    ]
    assert [each.name for each in pareto(points)] == ["cheap", "middle", "best"]


def test_the_vote_of_one_model_is_one_generator_and_a_vote() -> None:
    made = vote(["m"], 3, 0.7)
    assert [(node.layer, node.params.get("samples")) for node in made.nodes] == [("generator", 3), ("vote", None)]
