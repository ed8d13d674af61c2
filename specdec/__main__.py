"""`python -m specdec train …`: commands; a user's mistake ends with one line on stderr and exit code 2."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from specdec.errors import SpecDecError

if TYPE_CHECKING:
    from specdec.bench import Plan
    from specdec.crossover import Point
    from specdec.decoder import SpecDecoder
    from specdec.head import AcceptanceHead
    from specdec.prompts import Prompt
    from specdec.settings import Training

_TUNED_ON = 256
"""Prompts that the behaviour at each number of rows is tried on."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except SpecDecError as error:
        print(f"specdec: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m specdec", description="Speculative decoding with a trained stop rule."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train an acceptance head for a target and a draft")
    _add_pair(train)
    train.add_argument("--data", required=True, metavar="FILE", help='JSONL with a "prompt" on each line')
    train.add_argument(
        "--out", required=True, type=Path, metavar="FOLDER", help="the head's folder; a killed run goes on"
    )
    train.add_argument("--epochs", type=int, default=3)
    train.add_argument("--depth", type=int, default=3, help="residual blocks (default 3)")
    train.add_argument("--w-rej", type=float, default=6.0, help="weight of rejections in the loss (default 6)")
    train.add_argument(
        "--label", choices=("token", "overlap"), default="token", help="min(1, p/q), or the sum of min(p, q)"
    )
    train.add_argument("--temperature", type=float, nargs="+", default=[0.0, 0.7, 1.0], help="temperatures served")
    train.add_argument("--tokens", type=int, default=128, help="most tokens per text (default 128)")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument(
        "--batches", type=int, nargs="*", metavar="N", help="rows that decode together to tune for (default 1 … 64)"
    )
    train.set_defaults(run=_train)
    bench = commands.add_parser("bench", help="measure every stop policy on the same prompts")
    _add_pair(bench)
    bench.add_argument("--head", metavar="FOLDER", help="an acceptance head; without one specdec++ is left out")
    bench.add_argument("--prompts", required=True, metavar="FILE", help='JSONL with a "prompt" on each line')
    bench.add_argument("--limit", type=int, metavar="N", help="use the first N prompts")
    bench.add_argument("--temperature", type=float, nargs="+", default=[0.0, 0.7, 1.0])
    bench.add_argument("--policies", nargs="+", metavar="POLICY", help="instead of all, fixed:1 to fixed:20 among them")
    bench.add_argument("--repeats", type=int, default=5)
    bench.add_argument("--batch", type=int, default=1, help="rows that decode together (default 1)")
    bench.add_argument("--tokens", type=int, default=128, help="most tokens per prompt (default 128)")
    bench.add_argument("--seed", type=int, default=0)
    bench.add_argument(
        "--batches", type=int, nargs="+", metavar="N", help="then also what specdec++ is worth at each batch size"
    )
    bench.add_argument("--assisted", action="store_true", help="also Hugging Face's assisted generation")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    bench.add_argument("--plot", type=Path, metavar="FILE", help="write the picture of V against D there (PNG)")
    bench.set_defaults(run=_bench)
    return parser


def _add_pair(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", required=True, metavar="FOLDER")
    parser.add_argument("--draft", required=True, metavar="FOLDER")


def _train(options: argparse.Namespace) -> None:
    from specdec.costs import measure
    from specdec.decoder import SpecDecoder
    from specdec.head import AcceptanceHead, HeadConfig
    from specdec.progress import Progress
    from specdec.prompts import read_prompts
    from specdec.settings import Training
    from specdec.train import train

    settings = Training(
        epochs=options.epochs,
        depth=options.depth,
        w_rej=options.w_rej,
        label=options.label,
        temperatures=tuple(options.temperature),
        tokens=options.tokens,
        seed=options.seed,
    )
    prompts = read_prompts(options.data)
    pair = SpecDecoder(options.target, options.draft, "product:0.3")
    assert pair.draft is not None
    # An untrained head of the same shape costs what the trained one will.
    blank = AcceptanceHead(HeadConfig(pair.draft.model.width, settings.depth, settings.features))
    measured = measure(SpecDecoder(pair.target, pair.draft, head=blank))
    report = train(pair, prompts, settings, measured.costs, options.out, Progress(sys.stderr))
    costs, quality, threshold = measured.costs, report.quality, report.threshold
    print(f"costs in plain steps: c {costs.draft:.3f}, c_v {costs.verify:.3f}, a round's overhead {costs.overhead:.3f}")
    print(
        f"dev: accepted {quality.rate:.3f}, AUROC {quality.auroc:.3f} (max q alone {quality.peak_auroc:.3f}), "
        f"ECE {quality.ece_before:.4f} as trained, {quality.ece_after:.4f} calibrated, {quality.examples} examples"
    )
    print(
        f"threshold h* = {threshold.h:.3f} (multiplier {threshold.multiplier:g}), "
        f"predicted speed-up {threshold.rate:.2f}{'' if threshold.pays else ': speculation does not pay here'}"
    )
    _tune(pair, report.head, prompts, settings, options)


def _tune(
    pair: SpecDecoder,
    head: AcceptanceHead,
    prompts: Sequence[Prompt],
    settings: Training,
    options: argparse.Namespace,
) -> None:
    """What the head is to do for each number of rows, tried on this machine and written beside its weights."""
    from specdec.calibrate import load_windows
    from specdec.decoder import SpecDecoder
    from specdec.head import save_head
    from specdec.stages import BATCHES, stages

    batches = BATCHES if options.batches is None else sorted(options.batches)
    tuned = SpecDecoder(pair.target, pair.draft, head=head)
    ids = [pair.encode(prompt) for prompt in prompts[:_TUNED_ON]]
    heat = max(settings.temperatures)
    found = stages(tuned, load_windows(options.out), ids, batches, temperature=heat, tokens=settings.tokens)
    save_head(head.with_stages(found), options.out)
    for batch, h, most in found:
        said = f"h {h:.3f}, at most {most} tokens a draft" if most else "plain decoding (K = 0)"
        print(f"{batch} rows together: {said}")


def _bench(options: argparse.Namespace) -> None:
    from specdec.assisted import assisted
    from specdec.bench import Plan, bench
    from specdec.decoder import SpecDecoder
    from specdec.policies import make
    from specdec.prompts import read_prompts
    from specdec.report import as_json, markdown, pareto

    if options.batches and options.head is None:
        raise SpecDecError("--batches measures specdec++: give --head FOLDER")
    systems = tuple(options.policies or Plan().systems)
    for name in systems:
        make(name)
    plan = Plan(tuple(options.temperature), options.repeats, options.batch, options.tokens, options.seed, systems)
    prompts = read_prompts(options.prompts)[: options.limit]
    # Without a head nothing is served by this decoder itself; it only holds the pair.
    pair = SpecDecoder(options.target, options.draft, head=options.head)
    foreign = {"hf-assisted": assisted(options.target, options.draft)} if options.assisted else {}
    outcomes = bench(pair, prompts, plan, foreign, lambda line: print(line, file=sys.stderr))
    print(markdown(outcomes), end="")
    points = _crossover(options, pair, prompts, plan) if options.batches else []
    if options.json:
        found = {**as_json(outcomes), "batches": [asdict(point) for point in points]}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        pareto(outcomes, options.plot)


def _crossover(options: argparse.Namespace, pair: SpecDecoder, prompts: Sequence[Prompt], plan: Plan) -> list[Point]:
    from specdec.calibrate import load_windows
    from specdec.crossover import crossover, markdown

    points = crossover(pair, prompts, load_windows(options.head), plan, options.batches)
    print(f"\n{markdown(points)}", end="")
    return points


if __name__ == "__main__":
    sys.exit(main())
