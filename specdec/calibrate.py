"""From a head as trained to probabilities that can be multiplied: calibration, and its quality."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specdec.dataset import Examples
from specdec.head import AcceptanceHead
from specdec.metrics import auroc, expected_calibration_error, fit_calibration
from specdec.settings import Training
from specdec.threshold import Price, derive
from specdec.windows import asked_share, inputs, is_cold, make_windows

_FEWEST = 20
"""Examples of tokens the draft is sure of, by weight, from which on their chance is fitted."""


@dataclass(frozen=True, slots=True)
class Quality:
    """On the half of the dev split that calibration was not fitted to, every example of a roll-out counted by the
    chance that it matters (that all before it stand).

    ece: calibration error; auroc: discrimination; rate: the mean label. Before: as trained with w_rej; after:
    calibrated. peak_auroc: of the draft's own max q, for comparison.
    """

    ece_before: float
    ece_after: float
    auroc: float
    peak_auroc: float
    rate: float
    examples: int


def labels_of(examples: Examples, settings: Training) -> Tensor:
    return examples.token if settings.label == "token" else examples.overlap


def calibrate(head: AcceptanceHead, dev: Examples, settings: Training) -> AcceptanceHead:
    """The head with its logit fitted to labels of the dev split (a w_rej other than 1 biases it); tokens that the draft
    is sure of it is not asked about. Every other roll-out is fitted to."""
    labels, x = labels_of(dev, settings), inputs(head.config, dev)
    fitted = _fitted(dev)
    with torch.inference_mode():
        scale, shift = fit_calibration(head(x)[fitted], labels[fitted], dev.standing[fitted])
        tuned = head.tuned(scale=scale, shift=shift).with_sure(settings.sure)
        return _spared(tuned, x[fitted], labels[fitted], dev.standing[fitted])


def calibrate_greedy(head: AcceptanceHead, dev: Examples, settings: Training, price: Price) -> AcceptanceHead:
    """The head, or the same head not asked at temperature 0, whichever is the faster there by the costs: a good draft
    knows itself what its most likely token is worth, and to ask takes time."""
    cold = is_cold(dev)
    if not head.config.features or not bool(cold.any()) or bool(cold.all()):
        return head
    greedy, warm = dev.some(cold), dev.some(~cold)
    x, fitted = inputs(head.config, greedy), _fitted(greedy)
    by_q = fit_calibration(head.token_logits(x)[fitted], labels_of(greedy, settings)[fitted], greedy.standing[fitted])
    silent = calibrate(head.tuned(scale=1.0, shift=0.0), warm, settings).with_greedy(*by_q)
    kept = _held_back(greedy)

    def speedup(one: AcceptanceHead) -> float:
        windows = make_windows(one, kept)
        return derive(windows, price.at(asked_share(one, kept, windows))).rate

    return max((silent, head), key=speedup)


def quality_of(before: AcceptanceHead, after: AcceptanceHead, dev: Examples, settings: Training) -> Quality:
    """How good a head is where nothing was fitted to. before: as trained."""
    kept = _held_back(dev)
    x, label, weights = inputs(after.config, kept), labels_of(kept, settings), kept.standing
    with torch.inference_mode():
        raw, found = torch.sigmoid(before(x)), after.calibrated(x)
    return Quality(
        ece_before=expected_calibration_error(raw, label, weights),
        ece_after=expected_calibration_error(found, label, weights),
        auroc=auroc(found, label, weights),
        peak_auroc=auroc(kept.features[:, 1], label, weights),
        rate=float((label * weights).sum() / weights.sum()),
        examples=len(kept),
    )


def _fitted(dev: Examples) -> Tensor:
    """Every other roll-out; all examples, where that would leave none."""
    half = dev.window % 2 == 0
    return half if 0 < int(half.sum()) < len(dev) else torch.ones_like(half)


def _held_back(dev: Examples) -> Examples:
    """The others; all examples, where there are none."""
    fitted = _fitted(dev)
    return dev if bool(fitted.all()) else dev.some(~fitted)


def _spared(head: AcceptanceHead, x: Tensor, labels: Tensor, weights: Tensor) -> AcceptanceHead:
    """The head with what stood of the tokens that it is not asked about, as a function of their logit q."""
    spared = head.surely(x)
    if float(weights[spared].sum()) < _FEWEST:
        return head.with_sure(2.0)
    return head.with_sure(
        head.config.sure, *fit_calibration(head.token_logits(x)[spared], labels[spared], weights[spared])
    )
