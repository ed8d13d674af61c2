"""Calibration error, discrimination, loss and calibration on numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from specdec.metrics import auroc, expected_calibration_error, fit_calibration, weighted_loss


def test_calibration_error_is_the_mean_gap_over_bins() -> None:
    # Bin of .9: labels 1, 0, gap |.5 − .9| on half of the examples; bin of .1: labels 0, 0, gap .1 on the other half.
    chances, labels = torch.tensor([0.9, 0.9, 0.1, 0.1]), torch.tensor([1.0, 0.0, 0.0, 0.0])
    assert expected_calibration_error(chances, labels) == pytest.approx(0.25, abs=1e-6)
    assert expected_calibration_error(torch.tensor([1.0]), torch.tensor([1.0])) == 0


def test_auroc_counts_ordered_pairs_and_halves_ties() -> None:
    # Pairs (accepted, rejected): .8>.3, .8>.5, .5>.3 and the tie .5=.5 → 3.5 of 4.
    chances, labels = torch.tensor([0.8, 0.5, 0.5, 0.3]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert auroc(chances, labels) == pytest.approx(3.5 / 4)
    assert auroc(chances, torch.ones(4)) == 0.5


def test_auroc_of_soft_labels_counts_each_example_as_parts_of_both() -> None:
    # Accepted mass 1 at .9 and .5 at .1; rejected .5 at .1: (1·.5 + .5·.5/2)/(1.5·.5) = .625/.75.
    assert auroc(torch.tensor([0.9, 0.1]), torch.tensor([1.0, 0.5])) == pytest.approx(0.625 / 0.75)


def test_loss_is_the_papers() -> None:
    logits, labels = torch.tensor([0.3, -1.0]), torch.tensor([0.25, 1.0])
    chances = torch.sigmoid(logits).tolist()
    terms = -(0.25 * math.log(chances[0]) + 6 * 0.75 * math.log(1 - chances[0])) - math.log(chances[1])
    assert weighted_loss(logits, labels, 6.0).item() == pytest.approx(terms / (0.25 + 4.5 + 1.0), rel=1e-5)


def test_calibration_undoes_an_overconfident_and_shifted_logit() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, generator=generator) * 2
    labels = torch.bernoulli(torch.sigmoid(logits), generator=generator)
    # label ~ σ(z) and logit = 3z − 2, so z = logit/3 + 2/3.
    assert fit_calibration(3 * logits - 2, labels) == pytest.approx((1 / 3, 2 / 3), rel=0.08)


def test_calibration_of_separable_labels_stays_finite() -> None:
    scale, shift = fit_calibration(torch.tensor([-1.0, 1.0]), torch.tensor([0.0, 1.0]))
    assert scale > 0
    assert math.isfinite(scale)
    assert math.isfinite(shift)


WEIGHTS = torch.tensor([2.0, 1.0, 0.0, 3.0])
CHANCES, LABELS = torch.tensor([0.9, 0.6, 0.2, 0.3]), torch.tensor([1.0, 0.0, 1.0, 0.0])
REPEATED = [0, 0, 1, 3, 3, 3]
"""The same examples as often as they weigh."""


def test_an_example_of_weight_n_counts_as_n_examples() -> None:
    chances, labels = CHANCES[REPEATED], LABELS[REPEATED]
    assert auroc(CHANCES, LABELS, WEIGHTS) == pytest.approx(auroc(chances, labels))
    assert expected_calibration_error(CHANCES, LABELS, WEIGHTS) == pytest.approx(
        expected_calibration_error(chances, labels)
    )
    logits = torch.logit(CHANCES)
    assert weighted_loss(logits, LABELS, 6.0, WEIGHTS).item() == pytest.approx(
        weighted_loss(logits[REPEATED], labels, 6.0).item()
    )
    mixed = torch.tensor([1.0, 0.0, 1.0, 1.0])
    assert fit_calibration(logits, mixed, WEIGHTS) == pytest.approx(fit_calibration(logits[REPEATED], mixed[REPEATED]))
