"""`python -m specdec train …`: commands; a user's mistake ends with one line on stderr and exit code 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from specdec import commands
from specdec.errors import SpecDecError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (SpecDecError, OSError) as error:
        print(f"specdec: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("specdec: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m specdec", description="Speculative decoding with a trained stop rule."
    )
    known = parser.add_subparsers(required=True, metavar="COMMAND")
    train = known.add_parser("train", help="train an acceptance head for a target and a draft")
    _add_pair(train)
    train.add_argument("--data", required=True, metavar="FILE", help='JSONL with a "prompt" on each line')
    train.add_argument(
        "--out", required=True, type=Path, metavar="FOLDER", help="the head's folder; a killed run goes on"
    )
    train.add_argument("--epochs", type=int, default=3)
    train.add_argument("--depth", type=int, default=1, help="residual blocks (default 1; 0 costs least)")
    train.add_argument("--w-rej", type=float, default=1.0, help="weight of rejections in the loss (default 1)")
    train.add_argument(
        "--label", choices=("token", "overlap"), default="token", help="min(1, p/q), or the sum of min(p, q)"
    )
    train.add_argument("--temperature", type=float, nargs="+", default=[0.0, 0.7, 1.0], help="temperatures served")
    train.add_argument("--tokens", type=int, default=128, help="most tokens per text (default 128)")
    train.add_argument("--seed", type=int, default=0)
    _add_batches(train)
    train.set_defaults(run=commands.train)
    tune = known.add_parser("tune", help="try out on this machine how far a head should draft, by rows together")
    _add_pair(tune)
    tune.add_argument("--head", required=True, metavar="FOLDER", help="an acceptance head; what is found is kept in it")
    tune.add_argument("--prompts", required=True, metavar="FILE", help='JSONL with a "prompt" on each line')
    tune.add_argument(
        "--temperature", type=float, nargs="+", help="those served (default: the ends of the head's range)"
    )
    tune.add_argument("--tokens", type=int, default=128, help="most tokens per prompt (default 128)")
    _add_batches(tune)
    tune.set_defaults(run=commands.tune)
    bench = known.add_parser("bench", help="measure every stop policy on the same prompts")
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
    bench.set_defaults(run=commands.bench)
    return parser


def _add_pair(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", required=True, metavar="FOLDER")
    parser.add_argument("--draft", required=True, metavar="FOLDER")


def _add_batches(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--batches",
        type=int,
        nargs="+",
        metavar="N",
        help="rows that decode together to tune for (default 1 2 4 8 16 64); what was tuned for others is dropped",
    )


if __name__ == "__main__":
    sys.exit(main())
