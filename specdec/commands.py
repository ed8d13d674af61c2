"""What the commands of `python -m specdec` do, each with its options as `specdec.__main__` reads them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from specdec.errors import SpecDecError

if TYPE_CHECKING:
    from specdec.bench import Outcome, Plan
    from specdec.crossover import Point
    from specdec.decoder import SpecDecoder
    from specdec.prompts import Prompt
    from specdec.settings import Training
    from specdec.threshold import Price
    from specdec.train import Report

_TUNED_ON = 256
"""Prompts that the behaviour at each number of rows is tried on."""


def train(options: argparse.Namespace) -> None:
    """Train a head, print how good it is and what follows from the costs here."""
    from specdec.decoder import SpecDecoder
    from specdec.progress import Progress
    from specdec.prompts import read_prompts
    from specdec.settings import Training
    from specdec.train import train as trained

    settings = Training(
        epochs=options.epochs,
        depth=options.depth,
        w_rej=options.w_rej,
        label=options.label,
        temperatures=tuple(options.temperature),
        tokens=options.tokens,
        seed=options.seed,
    )
    _require_sizes(options.batches)
    if options.out.exists() and not options.out.is_dir():
        raise SpecDecError(f"--out {options.out} is a file: give a folder, new or of a run to go on with")
    prompts = read_prompts(options.data)
    pair = SpecDecoder(options.target, options.draft, "product:0.3")
    prices = {heat: _price(pair, settings, heat) for heat in settings.kinds}
    report = trained(pair, prompts, settings, prices, options.out, Progress(sys.stderr))
    _print(report, prices)
    ends = sorted({min(settings.temperatures), max(settings.temperatures)})
    _tuned(SpecDecoder(pair.target, pair.draft, head=report.head), prompts, ends, options)


def _price(pair: SpecDecoder, settings: Training, temperature: float) -> Price:
    """What drafting costs at a temperature, and what asking the head of these settings adds."""
    from specdec.costs import measure
    from specdec.decoder import SpecDecoder
    from specdec.head import AcceptanceHead
    from specdec.head_config import HeadConfig
    from specdec.threshold import Price

    assert pair.draft is not None
    # Asking an untrained head of the same shape costs what asking the trained one will.
    shape = HeadConfig(pair.draft.model.width, settings.depth, settings.features, high=max(1.0, temperature))
    measured = measure(SpecDecoder(pair.target, pair.draft, head=AcceptanceHead(shape)), temperature=temperature)
    return Price(measured.rule, measured.costs.draft - measured.rule.draft)


def _print(report: Report, prices: Mapping[float, Price]) -> None:
    quality = report.quality
    print(
        f"dev: accepted {quality.rate:.3f}, AUROC {quality.auroc:.3f} (max q alone {quality.peak_auroc:.3f}), "
        f"ECE {quality.ece_before:.4f} as trained, {quality.ece_after:.4f} calibrated, {quality.examples} examples"
    )
    for heat, found in report.thresholds.items():
        costs, asking = prices[heat]
        asked, lost = report.head.config.asked_at(heat), "" if found.pays else ": speculation does not pay here"
        print(
            f"temperature {heat:g}: c {costs.draft:.3f}, {asking:.3f} more where the head is asked ({asked:.0%} of "
            f"tokens), c_v {costs.verify:.3f}, a round's overhead {costs.overhead:.3f}, in plain steps"
        )
        print(
            f"temperature {heat:g}: threshold h* = {found.h:.3f} (multiplier {found.multiplier:g}), "
            f"predicted speed-up {found.rate:.2f}{lost}"
        )


def tune(options: argparse.Namespace) -> None:
    """Try out what a trained head is to do for each number of rows."""
    from specdec.decoder import SpecDecoder
    from specdec.prompts import read_prompts

    _require_sizes(options.batches)
    pair = SpecDecoder(options.target, options.draft, head=options.head)
    assert pair.head is not None
    options.out = Path(options.head)
    heats = options.temperature or sorted(set(pair.head.temperatures))
    _tuned(pair, read_prompts(options.prompts), heats, options)


def _tuned(
    pair: SpecDecoder, prompts: Sequence[Prompt], temperatures: Sequence[float], options: argparse.Namespace
) -> None:
    """What the head is to do for each number of rows, tried on this machine and written beside its weights."""
    from specdec.head_files import save_head
    from specdec.stages import BATCHES, tuned
    from specdec.windows import load_windows

    ids = [pair.prompt_ids(prompt) for prompt in prompts[:_TUNED_ON]]
    head = tuned(
        pair,
        load_windows(options.out),
        ids,
        options.batches or BATCHES,
        temperatures=temperatures,
        tokens=options.tokens,
        say=print,
    )
    save_head(head, options.out)


def bench(options: argparse.Namespace) -> None:
    """Measure every stop policy on the same prompts."""
    from specdec.assisted import Assisted
    from specdec.bench import Outcome, Plan
    from specdec.bench import bench as measured
    from specdec.decoder import SpecDecoder
    from specdec.policies import make
    from specdec.prompts import read_prompts
    from specdec.report import markdown, pareto

    if options.batches and options.head is None:
        raise SpecDecError("--batches measures specdec++: give --head FOLDER")
    systems = tuple(options.policies or Plan().systems)
    for name in systems:
        make(name)
    plan = Plan(tuple(options.temperature), options.repeats, options.batch, options.tokens, options.seed, systems)
    prompts = read_prompts(options.prompts)[: options.limit]
    _require_feasible(options)
    # Without a head nothing is served by this decoder itself; it only holds the pair.
    pair = SpecDecoder(options.target, options.draft, head=options.head)
    foreign = {"hf-assisted": Assisted(options.target, options.draft)} if options.assisted else {}
    outcomes = list[Outcome]()
    for heat in plan.temperatures:
        outcomes += measured(pair, prompts, replace(plan, temperatures=(heat,)), foreign, _say)
        _keep(options, outcomes, [])
    print(markdown(outcomes), end="")
    if options.batches:
        _keep(options, outcomes, _crossover(options, pair, prompts, plan))
    if options.plot:
        pareto(outcomes, options.plot)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _require_feasible(options: argparse.Namespace) -> None:
    """Refuse now what would fail after the measuring is done."""
    if options.limit is not None and options.limit < 1:
        raise SpecDecError(f"--limit must be ≥ 1; got {options.limit}")
    _require_sizes(options.batches)
    for file in filter(None, (options.json, options.plot)):
        if file.is_dir() or not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
            raise SpecDecError(f"{file} cannot be written: it is a folder, or lies in none that may be written to")
    if options.plot and options.plot.suffix != ".png":
        raise SpecDecError(f"--plot writes PNG: give a name that ends in .png, not {options.plot.name}")
    if options.plot and find_spec("matplotlib") is None:
        raise SpecDecError("--plot draws with matplotlib, which is not installed: pip install matplotlib")


def _require_sizes(batches: Sequence[int] | None) -> None:
    if batches is not None and min(batches, default=0) < 1:
        raise SpecDecError("--batches needs sizes of at least 1")


def _keep(options: argparse.Namespace, outcomes: Sequence[Outcome], points: Sequence[Point]) -> None:
    """Write the figures there are so far."""
    from specdec.report import as_json

    if options.json:
        found = {**as_json(outcomes), "batches": [asdict(point) for point in points]}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _crossover(options: argparse.Namespace, pair: SpecDecoder, prompts: Sequence[Prompt], plan: Plan) -> list[Point]:
    from specdec.crossover import crossover, markdown

    points = crossover(pair, prompts, plan, options.batches, _say)
    print(f"\n{markdown(points)}", end="")
    return points
