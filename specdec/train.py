"""Training an acceptance head: texts by the target, roll-outs drawn anew each epoch, calibration, derived threshold.

Seeded and resumable: every epoch's roll-outs and order follow from (seed, epoch), and a checkpoint is written after
each.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from specdec.dataset import Examples, Text, roll_out
from specdec.decoder import SpecDecoder
from specdec.errors import SpecDecError
from specdec.head import AcceptanceHead, HeadConfig, save_head
from specdec.metrics import auroc, expected_calibration_error, fit_calibration, weighted_loss
from specdec.params import Sampling
from specdec.prompts import Prompt
from specdec.threshold import Costs, Threshold, Window, derive

Label = Literal["token", "overlap"]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Training:
    """depth: D. w_rej: weight of rejections (the paper's best is 6). mix: r. horizon: tokens of a roll-out.

    label: "token" = min(1, p/q) of the drawn token (the paper's), "overlap" = Σ min(p, q). temperatures: served ones;
    texts take turns. tokens: the most per text. dev: share of the prompts kept for calibration and threshold. rate:
    of AdamW.
    """

    epochs: int = 3
    depth: int = 3
    w_rej: float = 6.0
    mix: float = 0.15
    horizon: int = 12
    label: Label = "token"
    features: bool = True
    temperatures: tuple[float, ...] = (0.0, 0.7, 1.0)
    tokens: int = 128
    dev: float = 0.1
    rate: float = 2e-3
    batch: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        rules = (
            (self.epochs >= 1 and self.horizon >= 2 and self.tokens >= 1, "epochs ≥ 1, horizon ≥ 2 and tokens ≥ 1"),
            (0 <= self.mix < 1 and 0 < self.dev < 1, "mix in [0, 1) and dev in (0, 1)"),
            (bool(self.temperatures) and min(self.temperatures) >= 0, "at least one temperature, none below 0"),
            (self.label in ("token", "overlap"), "label token or overlap"),
            (self.depth >= 0 and self.w_rej > 0, "depth ≥ 0 and w_rej > 0"),
        )
        for holds, rule in rules:
            if not holds:
                raise SpecDecError(f"training settings: need {rule}")


@dataclass(frozen=True, slots=True)
class Quality:
    """On the dev split, every example of a roll-out counted. ece: calibration error; auroc: discrimination; rate: the
    mean label. Before: as trained with w_rej; after: calibrated. peak_auroc: of the draft's own max q, for
    comparison."""

    ece_before: float
    ece_after: float
    auroc: float
    peak_auroc: float
    rate: float
    examples: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a training run ends with."""

    head: AcceptanceHead
    quality: Quality
    threshold: Threshold
    losses: tuple[float, ...]


def train(
    pair: SpecDecoder,
    prompts: Sequence[Prompt],
    settings: Training,
    costs: Costs,
    folder: Path,
    say: Say = lambda line: None,
) -> Report:
    """Train a head for the pair, write it to `folder` with `report.json`, and return it.

    pair: a SpecDecoder with a draft (its policy is used to write the texts faster). costs: measured, for the
    threshold. A folder that holds a checkpoint of the same settings is gone on with; one of other settings is refused.
    """
    if pair.draft is None or len(prompts) < 2:
        raise SpecDecError("training a head needs a draft model and at least two prompts")
    folder.mkdir(parents=True, exist_ok=True)
    train_texts, dev_texts = _texts(pair, prompts, settings, folder, say)
    run = _Run(pair, settings, folder)
    run.resume(say)
    while run.epoch < settings.epochs:
        run.one_epoch(train_texts, say)
    dev = _rolled(pair, dev_texts, settings, mix=0.0, epoch=settings.epochs)
    head, quality = calibrate(run.head, dev, settings)
    windows = make_windows(head, dev)
    threshold = derive(windows, costs)
    head = head.with_threshold(threshold.h)
    report = Report(head, quality, threshold, tuple(run.losses))
    _save_windows(windows, folder)
    _write(report, settings, costs, folder)
    return report


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

    def one_epoch(self, texts: Sequence[Text], say: Say) -> None:
        settings = self._settings
        examples = _rolled(self._pair, texts, settings, mix=settings.mix, epoch=self.epoch)
        generator = torch.Generator().manual_seed(_seed(settings, self.epoch))
        shuffled = torch.randperm(len(examples), generator=generator)
        order = [shuffled[at : at + settings.batch] for at in range(0, len(examples), settings.batch)]
        x, labels = inputs(self.head.config, examples), _labels(examples, settings)
        total = 0.0
        for number, pick in enumerate(order):
            self._set_rate((self.epoch + number / len(order)) / settings.epochs)
            loss = weighted_loss(self.head(x[pick]), labels[pick], settings.w_rej)
            self._optimiser.zero_grad()
            torch.autograd.backward(loss)
            self._optimiser.step()
            total += float(loss.detach())
        self.losses.append(total / len(order))
        self.epoch += 1
        self._save()
        say(f"epoch {self.epoch}/{settings.epochs}: {len(examples)} examples, loss {self.losses[-1]:.4f}")

    def resume(self, say: Say) -> None:
        if not self._file.is_file():
            return
        saved = torch.load(self._file, weights_only=True)
        if saved["settings"] != _comparable(self._settings):
            raise SpecDecError(f"{self._file} belongs to a run with other settings: give another folder, or delete it")
        self.head.load_state_dict(saved["head"])
        self._optimiser.load_state_dict(saved["optimiser"])
        self.epoch, self.losses = saved["epoch"], saved["losses"]
        say(f"going on after epoch {self.epoch}")

    def _save(self) -> None:
        state = {
            "settings": _comparable(self._settings),
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


def inputs(config: HeadConfig, examples: Examples) -> Tensor:
    """What the head reads of each example, float32 [n, config.inputs]."""
    return torch.cat((examples.hidden, examples.features), dim=-1) if config.features else examples.hidden


def calibrate(head: AcceptanceHead, dev: Examples, settings: Training) -> tuple[AcceptanceHead, Quality]:
    """The head with its logit fitted to the dev labels (w_rej made it pessimistic), and how good it is there."""
    labels = _labels(dev, settings)
    with torch.inference_mode():
        raw = head(inputs(head.config, dev))
    scale, shift = fit_calibration(raw, labels)
    tuned = head.tuned(scale=scale, shift=shift)
    with torch.inference_mode():
        after = tuned.calibrated(inputs(head.config, dev))
    quality = Quality(
        ece_before=expected_calibration_error(torch.sigmoid(raw), labels),
        ece_after=expected_calibration_error(after, labels),
        auroc=auroc(after, labels),
        peak_auroc=auroc(dev.features[:, 1], labels),
        rate=float(labels.mean()),
        examples=len(dev),
    )
    return tuned, quality


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


def load_windows(folder: str | Path) -> list[Window]:
    """The dev roll-outs that lie beside a head, for `specdec.costs.plan` on this machine."""
    file = Path(folder) / "windows.json"
    if not file.is_file():
        raise SpecDecError(f"no roll-outs at {file}: train the head with python -m specdec train")
    return [
        Window(tuple(predicted), tuple(actual)) for predicted, actual in json.loads(file.read_text(encoding="utf-8"))
    ]


def _save_windows(windows: Sequence[Window], folder: Path) -> None:
    """Some hundred of them, evenly over all, rounded: enough to derive thresholds on another machine."""
    some = windows[:: max(1, len(windows) // 400)]
    lines = [[[round(chance, 4) for chance in chain] for chain in (w.predicted, w.actual)] for w in some]
    (folder / "windows.json").write_text(json.dumps(lines) + "\n", encoding="utf-8")


def _labels(examples: Examples, settings: Training) -> Tensor:
    return examples.token if settings.label == "token" else examples.overlap


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


def _texts(
    pair: SpecDecoder, prompts: Sequence[Prompt], settings: Training, folder: Path, say: Say
) -> tuple[list[Text], list[Text]]:
    """Train and dev texts: the target's continuations, kept in `texts.json` so that a resumed run writes none anew."""
    file = folder / "texts.json"
    if not file.is_file():
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(_continued(pair, prompts, settings, say)), encoding="utf-8")
        fresh.replace(file)
    texts = [
        Text(tuple(tokens), prompt, Sampling(temperature=heat))
        for tokens, prompt, heat in json.loads(file.read_text(encoding="utf-8"))
    ]
    random.Random(settings.seed).shuffle(texts)
    count = max(1, round(settings.dev * len(texts)))
    return texts[count:], texts[:count]


def _continued(
    pair: SpecDecoder, prompts: Sequence[Prompt], settings: Training, say: Say
) -> list[tuple[list[int], int, float]]:
    heats = [settings.temperatures[i % len(settings.temperatures)] for i in range(len(prompts))]
    samplings = [
        Sampling(temperature=t, max_tokens=settings.tokens, seed=settings.seed + i) for i, t in enumerate(heats)
    ]
    done: list[tuple[list[int], int, float]] = []
    for at in range(0, len(prompts), 256):
        ids = [pair.encode(prompt) for prompt in prompts[at : at + 256]]
        results = pair.generate(ids, samplings[at : at + 256])
        done += [
            ([*before, *result.tokens], len(before), heat)
            for before, result, heat in zip(ids, results, heats[at : at + 256], strict=True)
        ]
        say(f"texts: {len(done)}/{len(prompts)}")
    return done


def _seed(settings: Training, epoch: int) -> int:
    """Of one epoch's roll-outs and order; the dev split's epoch is the one after the last."""
    return settings.seed * 1_000_003 + epoch


def _comparable(settings: Training) -> dict[str, object]:
    return {**asdict(settings), "temperatures": list(settings.temperatures)}


def _write(report: Report, settings: Training, costs: Costs, folder: Path) -> None:
    save_head(report.head, folder)
    summary = {
        "settings": asdict(settings),
        "costs": asdict(costs),
        "quality": asdict(report.quality),
        "threshold": asdict(report.threshold),
        "losses": report.losses,
    }
    (folder / "report.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
