"""A head's roll-outs as thresholds are derived from them: what it predicts of each drafted token, and what came of it.
They lie beside the head, for the costs of other machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from specdec.dataset import Examples
from specdec.errors import SpecDecError
from specdec.head import AcceptanceHead
from specdec.head_config import FEATURES, HeadConfig
from specdec.threshold import Window, drafted_by

_KEPT = 400
"""Roll-outs of a kind that are written: enough for the rate of a rule."""


class Windows(NamedTuple):
    """Of the dev split, by the kind of temperature they were drafted at: 0, and above it."""

    cold: list[Window]
    warm: list[Window]

    def at(self, temperature: float) -> list[Window]:
        """Those of its kind; where there are none, the others."""
        return (self.cold or self.warm) if temperature == 0 else (self.warm or self.cold)


def dev_windows(head: AcceptanceHead, dev: Examples) -> Windows:
    """All roll-outs of a head's dev split."""
    cold = is_cold(dev)
    return Windows(*(make_windows(head, dev.some(kind)) for kind in (cold, ~cold)))


def inputs(config: HeadConfig, examples: Examples) -> Tensor:
    """What the head reads of each example, float32 [n, config.inputs]."""
    return torch.cat((examples.hidden, examples.features), dim=-1) if config.features else examples.hidden


def is_cold(examples: Examples) -> Tensor:
    """Which are of temperature 0, bool [n]."""
    return examples.features[:, FEATURES.index("temperature")] == 0


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


def load_windows(folder: str | Path) -> Windows:
    """The dev roll-outs that lie beside a head, for `specdec.stages` on this machine."""
    file = Path(folder) / "windows.json"
    if not file.is_file():
        raise SpecDecError(f"no roll-outs at {file}: train the head with python -m specdec train")
    try:
        told = json.loads(file.read_text("utf-8"))
        found = Windows(*([_window(*chains) for chains in told[kind]] for kind in Windows._fields))
        if not any(found):
            raise ValueError("there are none")
        return found
    except (ValueError, TypeError, KeyError) as error:
        raise SpecDecError(f"the roll-outs at {file} are damaged ({error}): train the head anew") from None


def _window(predicted: list[float], actual: list[float]) -> Window:
    if len(predicted) != len(actual) or not all(0 <= chance <= 1 for chance in (*predicted, *actual)):
        raise ValueError("a chance for each token, in [0, 1], is needed")
    return Window(tuple(predicted), tuple(actual))


def save_windows(windows: Windows, folder: Path) -> None:
    """Some hundred of each kind, evenly over all, rounded."""
    told = {kind: _some(found) for kind, found in windows._asdict().items()}
    (folder / "windows.json").write_text(json.dumps(told) + "\n", encoding="utf-8")


def _some(windows: Sequence[Window]) -> list[list[list[float]]]:
    kept = windows[:: max(1, len(windows) // _KEPT)]
    return [[[round(chance, 4) for chance in chain] for chain in (w.predicted, w.actual)] for w in kept]
