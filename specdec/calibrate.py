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


@dataclass(frozen=True, slots=True)
class Quality:
    """On the half of the dev split that calibration was not fitted to, every example of a roll-out counted.

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
    """The head with its logit fitted to labels of the dev split (w_rej made it pessimistic), and how good it is there;
    tokens that the draft is sure of it is not asked about.

    Every other roll-out is fitted to; quality is that on the rest.
    """
    labels, x = labels_of(dev, settings), inputs(head.config, dev)
    fitted = dev.window % 2 == 0
    kept = ~fitted if 0 < int(fitted.sum()) < len(dev) else fitted
    with torch.inference_mode():
        raw = head(x)
    scale, shift = fit_calibration(raw[fitted], labels[fitted])
    tuned = _spared(head.tuned(scale=scale, shift=shift), x[fitted], labels[fitted], settings.sure)
    with torch.inference_mode():
        after = tuned.calibrated(x[kept])
    quality = Quality(
        ece_before=expected_calibration_error(torch.sigmoid(raw[kept]), labels[kept]),
        ece_after=expected_calibration_error(after, labels[kept]),
        auroc=auroc(after, labels[kept]),
        peak_auroc=auroc(dev.features[kept, 1], labels[kept]),
        rate=float(labels[kept].mean()),
        examples=int(kept.sum()),
    )
    return tuned, quality


def _spared(head: AcceptanceHead, x: Tensor, labels: Tensor, sure: float) -> AcceptanceHead:
    """The head that takes tokens of q(x) ≥ sure for accepted as often as those of the dev split were."""
    spared = head.with_sure(sure, 1.0)
    with torch.inference_mode():
        found = labels[spared.surely(x)]
    return head.with_sure(sure, float(found.mean())) if len(found) else head


def make_windows(head: AcceptanceHead, examples: Examples) -> list[Window]:
    """The roll-outs with what the head predicts; the actual chance of a drawn token is min(1, p/q)."""
    with torch.inference_mode():
        predicted = head.calibrated(inputs(head.config, examples)).tolist()
    order = sorted(range(len(examples)), key=lambda i: (int(examples.window[i]), int(examples.place[i])))
    grouped: dict[int, list[int]] = {}
    for index in order:
        grouped.setdefault(int(examples.window[index]), []).append(index)
    actual = examples.token.tolist()
    return [
        Window(tuple(predicted[i] for i in members), tuple(actual[i] for i in members)) for members in grouped.values()
    ]


def asked_share(windows: Sequence[Window], known: float, least: float = 0.5) -> float:
    """The share of drafted tokens that a head is asked about: all but those it takes for `known`, in roll-outs that end
    where a rule would end them, at a predicted survival below `least`. Past that the draft is ever less sure."""
    drafted = [window.predicted[: drafted_by(window.predicted, least)] for window in windows]
    return sum(chance != known for chain in drafted for chance in chain) / sum(map(len, drafted))


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
