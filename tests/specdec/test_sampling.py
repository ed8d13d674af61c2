"""Warpers against their definitions, and draws against the law they promise."""

from __future__ import annotations

import math

import pytest
import torch

from specdec.errors import SpecDecError
from specdec.params import Sampling
from specdec.sampling import SeededDraws, UniformDraws, Warper, draw_lines, require_finite

CPU = torch.device("cpu")
LOGITS = torch.tensor([[0.5, 0.25, 0.15, 0.1]], dtype=torch.float64).log()


def warped(sampling: Sampling, logits: torch.Tensor = LOGITS) -> list[float]:
    values: list[float] = Warper([sampling], logits.dtype, CPU).probabilities(logits)[0].tolist()
    return values


def test_temperature_is_a_power_of_the_probabilities() -> None:
    # T = 0.5 squares: .25, .0625, .0225, .01, sum .345.
    assert warped(Sampling(temperature=0.5)) == pytest.approx(
        [0.25 / 0.345, 0.0625 / 0.345, 0.0225 / 0.345, 0.01 / 0.345]
    )


def test_top_k_keeps_the_k_largest_and_more_than_the_vocabulary_keeps_all() -> None:
    assert warped(Sampling(top_k=2)) == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert warped(Sampling(top_k=99)) == pytest.approx([0.5, 0.25, 0.15, 0.1])


def test_top_p_keeps_the_token_that_crosses_p() -> None:
    # Mass before the third token is .75 < .8, before the fourth .9 ≥ .8.
    assert warped(Sampling(top_p=0.8)) == pytest.approx([0.5 / 0.9, 0.25 / 0.9, 0.15 / 0.9, 0])
    assert warped(Sampling(top_p=1e-9)) == pytest.approx([1, 0, 0, 0])


def test_temperature_zero_is_one_hot_at_the_lowest_of_equal_maxima() -> None:
    assert warped(Sampling(temperature=0), torch.tensor([[1.0, 3.0, 3.0, 2.0]])) == [0, 1, 0, 0]


def test_repetition_penalty_divides_positive_and_multiplies_negative_logits() -> None:
    logits = torch.tensor([[2.0, -2.0, 2.0]])
    warper = Warper([Sampling(repetition_penalty=2.0)], torch.float32, CPU)
    seen = torch.tensor([[True, True, False]])
    assert warper.penalised(logits, None, seen).tolist() == [[1.0, -4.0, 2.0]]


def test_rows_of_one_group_keep_their_own_settings() -> None:
    rows = [Sampling(temperature=0), Sampling(top_k=2), Sampling(), Sampling(temperature=0.5, top_p=0.8)]
    together = Warper(rows, torch.float64, CPU).probabilities(LOGITS.expand(4, -1))
    alone = [warped(row) for row in rows]
    assert torch.allclose(together, torch.tensor(alone, dtype=torch.float64))


def test_lines_of_one_row_use_that_rows_settings() -> None:
    warper = Warper([Sampling(temperature=0), Sampling(top_k=2)], torch.float64, CPU)
    lines = warper.probabilities(LOGITS.expand(3, -1), torch.tensor([1, 1, 0]))
    assert lines[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert lines[2].tolist() == [1, 0, 0, 0]


def test_confidence_of_a_greedy_row_is_the_models_softmax() -> None:
    warper = Warper([Sampling(temperature=0), Sampling(top_k=1)], torch.float64, CPU)
    both = LOGITS.expand(2, -1)
    shown = warper.confidence(both, warper.probabilities(both))
    assert shown[0].tolist() == pytest.approx([0.5, 0.25, 0.15, 0.1])
    assert shown[1].tolist() == pytest.approx([1, 0, 0, 0])


def test_draws_follow_the_probabilities() -> None:
    draws, probs = SeededDraws(0), torch.tensor([0.1, 0.0, 0.6, 0.3])
    counts = [0] * 4
    for _ in range(4000):
        counts[draws.categorical(probs)] += 1
    assert counts[1] == 0
    # Standard deviation of a share is at most √(.25/4000) = .008; four of them.
    assert [count / 4000 for count in counts] == pytest.approx([0.1, 0.0, 0.6, 0.3], abs=0.032)


def test_a_token_of_probability_zero_is_never_drawn_at_the_edges() -> None:
    probs = torch.tensor([0.0, 0.3, 0.7, 0.0])
    assert UniformDraws(lambda: 0.0).categorical(probs) == 1
    assert UniformDraws(lambda: math.nextafter(1.0, 0.0)).categorical(probs) == 2


def test_the_same_seed_gives_the_same_draws_alone_and_together() -> None:
    probs = torch.rand(3, 50, generator=torch.Generator().manual_seed(1))
    together = [draw_lines(probs, [SeededDraws(5), SeededDraws(6), SeededDraws(7)])]
    alone = [SeededDraws(seed).categorical(line) for seed, line in zip((5, 6, 7), probs, strict=True)]
    assert together == [alone]


def test_acceptance_is_certain_at_one_and_impossible_at_zero() -> None:
    draws = SeededDraws(3)
    assert draws.accepted([1.0, 1.5, 7.0]) == 3
    assert draws.accepted([1.0, 0.0, 1.0]) == 1
    assert draws.accepted([]) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_logits_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(SpecDecError, match="draft x model's logits hold"):
        require_finite([1.0, bad], "draft x")


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"repetition_penalty": 0.0},
        {"max_tokens": 0},
        {"stop": "end"},
        {"stop": ("",)},
    ],
)
def test_wrong_settings_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(SpecDecError, match=next(iter(wrong))):
        Sampling(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_no_generator_takes_is_refused(seed: int) -> None:
    with pytest.raises(SpecDecError, match="seed must lie in"):
        Sampling(seed=seed)
