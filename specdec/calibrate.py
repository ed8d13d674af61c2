"""From a head as trained to probabilities that can be multiplied: calibration, its quality, and the dev roll-outs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from specdec.dataset import Examples
from specdec.errors import SpecDecError
from specdec.head import AcceptanceHead, HeadConfig
from specdec.metrics import auroc, expected_calibration_error, fit_calibration
from specdec.settings import Training
from specdec.threshold import Window, drafted_by

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


def inputs(config: HeadConfig, examples: Examples) -> Tensor:
    """What the head reads of each example, float32 [n, config.inputs]."""
    return torch.cat((examples.hidden, examples.features), dim=-1) if config.features else examples.hidden


def labels_of(examples: Examples, settings: Training) -> Tensor:
    return examples.token if settings.label == "token" else examples.overlap


def calibrate(head: AcceptanceHead, dev: Examples, settings: Training) -> tuple[AcceptanceHead, Quality]:
    """The head with its logit fitted to labels of the dev split (a w_rej other than 1 biases it), and how good it is
    there; tokens that the draft is sure of it is not asked about.

    Every other roll-out is fitted to; quality is that on the rest.
    """
    labels, x = labels_of(dev, settings), inputs(head.config, dev)
    fitted = dev.window % 2 == 0
    kept = ~fitted if 0 < int(fitted.sum()) < len(dev) else fitted
    with torch.inference_mode():
        raw = head(x)
        scale, shift = fit_calibration(raw[fitted], labels[fitted], dev.standing[fitted])
        tuned = head.tuned(scale=scale, shift=shift).with_sure(settings.sure)
        tuned = _spared(tuned, x[fitted], labels[fitted], dev.standing[fitted])
        after = tuned.calibrated(x[kept])
    label, weights = labels[kept], dev.standing[kept]
    quality = Quality(
        ece_before=expected_calibration_error(torch.sigmoid(raw[kept]), label, weights),
        ece_after=expected_calibration_error(after, label, weights),
        auroc=auroc(after, label, weights),
        peak_auroc=auroc(dev.features[kept, 1], label, weights),
        rate=float((label * weights).sum() / weights.sum()),
        examples=int(kept.sum()),
    )
    return tuned, quality


def _spared(head: AcceptanceHead, x: Tensor, labels: Tensor, weights: Tensor) -> AcceptanceHead:
    """The head with what stood of the tokens that it is not asked about, as a function of their logit q."""
    spared = head.surely(x)
    if float(weights[spared].sum()) < _FEWEST:
        return head.with_sure(2.0)
    return head.with_sure(
        head.config.sure, *fit_calibration(head.token_logits(x)[spared], labels[spared], weights[spared])
    )


def make_windows(head: AcceptanceHead, examples: Examples) -> list[Window]:
    """The roll-outs with what the head predicts; the actual chance of a drawn token is min(1, p/q)."""
    with torch.inference_mode():
        predicted = head.calibrated(inputs(head.config, examples)).tolist()
    actual = examples.token.tolist()
    return [
        Window(tuple(predicted[i] for i in members), tuple(actual[i] for i in members))
        for members in _roll_outs(examples)
    ]


def asked_share(head: AcceptanceHead, examples: Examples, windows: Sequence[Window], least: float = 0.5) -> float:
    """The share of drafted tokens that the head is asked about, in roll-outs that end where a rule would end
    them, at a predicted survival below `least`. Past that the draft is ever less sure. windows: `make_windows` of the
    examples."""
    with torch.inference_mode():
        spared = head.surely(inputs(head.config, examples)).tolist()
    drafted = asked = 0
    for members, window in zip(_roll_outs(examples), windows, strict=True):
        count = drafted_by(window.predicted, least)
        drafted += count
        asked += sum(not spared[i] for i in members[:count])
    return asked / drafted


def _roll_outs(examples: Examples) -> list[list[int]]:
    """Where the tokens of each roll-out stand among the examples, in their order."""
    grouped: dict[int, list[int]] = {}
    for index in sorted(range(len(examples)), key=lambda i: (int(examples.window[i]), int(examples.place[i]))):
        grouped.setdefault(int(examples.window[index]), []).append(index)
    return list(grouped.values())


def load_windows(folder: str | Path) -> list[Window]:
    """The dev roll-outs that lie beside a head, for `specdec.stages` on this machine."""
    file = Path(folder) / "windows.json"
    if not file.is_file():
        raise SpecDecError(f"no roll-outs at {file}: train the head with python -m specdec train")
    try:
        return [Window(tuple(predicted), tuple(actual)) for predicted, actual in json.loads(file.read_text("utf-8"))]
    except (ValueError, TypeError) as error:
        raise SpecDecError(f"the roll-outs at {file} are damaged ({error}): train the head anew") from None


def save_windows(windows: Sequence[Window], folder: Path) -> None:
    """Some hundred of them, evenly over all, rounded: enough to derive thresholds on another machine."""
    some = windows[:: max(1, len(windows) // 400)]
    lines = [[[round(chance, 4) for chance in chain] for chain in (w.predicted, w.actual)] for w in some]
    (folder / "windows.json").write_text(json.dumps(lines) + "\n", encoding="utf-8")
