"""Training an acceptance head: texts by the target, roll-outs drawn anew each epoch, calibration, derived threshold.

Seeded and resumable: every epoch's roll-outs and order follow from (seed, epoch), and a checkpoint is written after
each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from pickle import UnpicklingError

import torch

from specdec.calibrate import Quality, calibrate, calibrate_greedy, labels_of, quality_of
from specdec.claim import claim
from specdec.dataset import Examples, Text, roll_out
from specdec.decoder import SpecDecoder
from specdec.errors import SpecDecError
from specdec.head import AcceptanceHead
from specdec.head_config import HeadConfig
from specdec.head_files import save_head
from specdec.metrics import weighted_loss
from specdec.policies.base import LIMIT
from specdec.progress import Progress
from specdec.prompts import Prompt
from specdec.settings import Training
from specdec.stopping import Stopping
from specdec.texts import make_texts
from specdec.threshold import Price, Threshold, derive
from specdec.windows import asked_share, dev_windows, inputs, is_cold, make_windows, save_windows


@dataclass(frozen=True, slots=True)
class Report:
    """What a training run ends with. thresholds: by temperature, of `Training.kinds`."""

    head: AcceptanceHead
    quality: Quality
    thresholds: dict[float, Threshold]
    losses: tuple[float, ...]


def train(
    pair: SpecDecoder,
    prompts: Sequence[Prompt],
    settings: Training,
    prices: Mapping[float, Price],
    folder: Path,
    progress: Progress | None = None,
) -> Report:
    """Train a head for the pair, write it to `folder` with `report.json`, and return it.

    pair: a SpecDecoder with a draft (its policy is used to write the texts faster). prices: measured, for the
    thresholds, at each of `settings.kinds`. A folder that holds a checkpoint of the same settings is gone on with; one
    of other settings is refused.
    """
    if pair.draft is None or len(prompts) < 2:
        raise SpecDecError("training a head needs a draft model and at least two prompts")
    progress = progress or Progress()
    folder.mkdir(parents=True, exist_ok=True)
    claim(folder, pair, prompts, settings)
    run = _Run(pair, settings, folder)
    run.resume(progress)
    train_texts, dev_texts = make_texts(pair, prompts, settings, folder, progress)
    while run.epoch < settings.epochs:
        run.one_epoch(train_texts, progress)
    # As far as any rule drafts, for a chain that is cut short would pass for one that a rule has ended.
    dev = _rolled(pair, dev_texts, replace(settings, horizon=LIMIT), mix=0.0, epoch=settings.epochs)
    head = calibrate(run.head, dev, settings)
    if 0.0 in prices:
        head = calibrate_greedy(head, dev, settings, prices[0.0])
    quality = quality_of(run.head, head, dev, settings)
    answered = dev if head.config.greedy is None else dev.some(~is_cold(dev))
    head = head.with_asked(asked_share(head, answered, make_windows(head, answered)))
    windows = dev_windows(head, dev)
    thresholds = {
        heat: derive(windows.at(heat), price.at(head.config.asked_at(heat))) for heat, price in prices.items()
    }
    report = Report(_stopping(head, thresholds), quality, thresholds, tuple(run.losses))
    save_windows(windows, folder)
    _write(report, settings, prices, folder)
    return report


def _stopping(head: AcceptanceHead, thresholds: Mapping[float, Threshold]) -> AcceptanceHead:
    """The head with the thresholds derived for it; what there is only one of serves at all temperatures."""
    found = {heat: Stopping(threshold.h, threshold.multiplier) for heat, threshold in thresholds.items()}
    return head.with_stopping(found[max(found)], found[0.0] if len(found) > 1 else None)


class _Run:
    """The state that a checkpoint holds: weights, optimiser, epochs done, their losses."""

    def __init__(self, pair: SpecDecoder, settings: Training, folder: Path) -> None:
        assert pair.draft is not None
        self._pair, self._settings, self._file = pair, settings, folder / "checkpoint.pt"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            low, high = min(settings.temperatures), max(settings.temperatures)
            width = pair.draft.model.width
            self.head = AcceptanceHead(HeadConfig(width, settings.depth, settings.features, low=low, high=high))
        self._optimiser = torch.optim.AdamW(self.head.parameters(), lr=settings.rate, weight_decay=0.01)
        self.epoch = 0
        self.losses: list[float] = []

    def one_epoch(self, texts: Sequence[Text], progress: Progress) -> None:
        settings, label = self._settings, f"epoch {self.epoch + 1}/{self._settings.epochs}"
        progress.say(f"{label}: drafting along {len(texts)} texts")
        examples = _rolled(self._pair, texts, settings, mix=settings.mix, epoch=self.epoch).that_matter()
        generator = torch.Generator().manual_seed(_seed(settings, self.epoch))
        shuffled = torch.randperm(len(examples), generator=generator)
        order = [shuffled[at : at + settings.batch] for at in range(0, len(examples), settings.batch)]
        x, labels = inputs(self.head.config, examples), labels_of(examples, settings)
        total = 0.0
        for number, pick in enumerate(order):
            self._set_rate((self.epoch + number / len(order)) / settings.epochs)
            loss = weighted_loss(self.head(x[pick]), labels[pick], settings.w_rej, examples.standing[pick])
            self._optimiser.zero_grad()
            torch.autograd.backward(loss)
            self._optimiser.step()
            total += float(loss.detach())
            progress.at(label, number + 1, len(order))
        self.losses.append(total / len(order))
        self.epoch += 1
        self._save()
        progress.say(f"{label}: {len(examples)} examples, loss {self.losses[-1]:.4f}")

    def resume(self, progress: Progress) -> None:
        if not self._file.is_file():
            return
        try:
            saved = torch.load(self._file, weights_only=True)
            self.head.load_state_dict(saved["head"])
            self._optimiser.load_state_dict(saved["optimiser"])
            self.epoch, self.losses = int(saved["epoch"]), list(saved["losses"])
        except (RuntimeError, EOFError, ValueError, TypeError, KeyError, AttributeError, UnpicklingError) as error:
            raise SpecDecError(f"{self._file} is damaged ({type(error).__name__}): delete it to train anew") from None
        progress.say(f"going on after epoch {self.epoch}")

    def _save(self) -> None:
        state = {
            "head": self.head.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "epoch": self.epoch,
            "losses": self.losses,
        }
        # A run killed while writing must find the old checkpoint whole.
        fresh = self._file.with_suffix(".new")
        torch.save(state, fresh)
        fresh.replace(self._file)

    def _set_rate(self, done: float) -> None:
        """Cosine decay after a warm-up over the first 3 % (the paper's). done: in [0, 1)."""
        factor = min(1.0, done / 0.03 + 0.01) * 0.5 * (1 + math.cos(math.pi * done))
        for group in self._optimiser.param_groups:
            group["lr"] = self._settings.rate * factor


def _rolled(pair: SpecDecoder, texts: Sequence[Text], settings: Training, *, mix: float, epoch: int) -> Examples:
    assert pair.draft is not None
    return roll_out(
        pair.target.model,
        pair.draft.model,
        texts,
        horizon=settings.horizon,
        mix=mix,
        seed=_seed(settings, epoch),
        eos=pair.target.eos,
    )


def _seed(settings: Training, epoch: int) -> int:
    """Of one epoch's roll-outs and order; the dev split's epoch is the one after the last."""
    return settings.seed * 1_000_003 + epoch


def _write(report: Report, settings: Training, prices: Mapping[float, Price], folder: Path) -> None:
    save_head(report.head, folder)
    summary = {
        "settings": asdict(settings),
        "quality": asdict(report.quality),
        "temperatures": {
            f"{heat:g}": {"costs": asdict(prices[heat].costs), "asking": prices[heat].asking, **asdict(found)}
            for heat, found in report.thresholds.items()
        },
        "losses": report.losses,
    }
    (folder / "report.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
