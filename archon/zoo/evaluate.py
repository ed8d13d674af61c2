"""Measure the zoo and write its model card's table: `python -m archon.zoo.evaluate [NAME …] [--quick] [--write]`.

Questions come from the held-out split with a seed of their own. Each model prints one JSON line; the table follows,
and `--write` puts it into `archon/zoo/README.md`.
"""

import argparse
import json
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from archon.zoo import ZooModel, measures, model, names, path
from archon.zoo.generate import Speaker
from archon.zoo.ledger import KINDS, ledger_problems
from archon.zoo.measures import SAMPLES, TEMPERATURE, Pool, Share, share

CARD = Path(__file__).parent / "README.md"
_SEED = 2026
_FULL, _QUICK = 500, 100
_START, _END = "<!-- measured -->", "<!-- /measured -->"


def measure(speaker: Speaker, pool: Pool) -> dict[str, Any]:
    """Every figure of one model on a pool of its own samples: shares as [value, low, high], in 0..1."""
    problems = pool.problems
    greedy = measures.greedy(speaker, problems)
    ranked, chance = measures.ranked(speaker, pool)
    sound, judged = measures.tested(speaker, pool)
    shares = {
        "greedy": share(greedy),
        "sampled": share([right for row in pool.right for right in row]),
        "vote": share(measures.voted(pool)),
        "fuse": share(measures.fused(speaker, pool)),
        "rank first": ranked,
        "compare": measures.compared(speaker, pool),
        "critique": measures.critiqued(speaker, pool),
        "verify": measures.verified(speaker, pool),
        "tests sound": sound,
        "tests judged": judged,
        **{
            f"kind {kind}": share([g for g, p in zip(greedy, problems, strict=True) if p.kind == kind])
            for kind in KINDS
        },
    }
    return {name: _figures(one) for name, one in shares.items()} | {"rank chance": round(chance, 3)}


def _figures(one: Share) -> list[float]:
    return [round(figure, 3) for figure in (one.value, *one.interval)]


def table(found: dict[str, dict[str, Any]], questions: int) -> str:
    """The figures as Markdown: a row a figure, a column a model."""
    rows = [f"| percent right ({questions} questions) | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    for figure in next(iter(found.values())):
        rows.append(f"| {_TITLES.get(figure, f'solve, greedy, {figure}')} | ")
        rows[-1] += " | ".join(_cell(figures[figure]) for figures in found.values()) + " |"
    return "\n".join(rows)


def _cell(figure: list[float] | float) -> str:
    if isinstance(figure, list):
        return f"{figure[0]:.1%} ({figure[1] * 100:.1f}–{figure[2] * 100:.1f})"
    return f"{figure:.1%}"


_TITLES = {
    "greedy": "solve, greedy",
    "sampled": f"solve, one sample at T = {TEMPERATURE}",
    "vote": f"solve, vote of {SAMPLES} samples",
    "fuse": f"fuse {SAMPLES} own samples",
    "rank first": f"rank {SAMPLES} own samples: first is right (where they differ)",
    "rank chance": "rank: the first by chance",
    "compare": "compare a right and a wrong sample (chance 50 %)",
    "critique": "critique finds fault with the wrong one of two, and only with it (chance 25 %)",
    "verify": "verify: reasoning and verdict, balanced (chance 50 %)",
    "tests sound": "tests written that a right answer passes",
    "tests judged": "tests judged rightly on own samples",
}


def together(pools: Sequence[Pool]) -> str:
    """What a vote over the samples of all models achieves, as Markdown."""
    texts = [list(chain(*rows)) for rows in zip(*(pool.texts for pool in pools), strict=True)]
    everyone = Pool(pools[0].problems, texts)
    vote = _cell(_figures(share(measures.voted(everyone))))
    return f"A vote over {SAMPLES} samples at T = {TEMPERATURE} of each of the {len(pools)} models: **{vote}**."


def facts(models: Sequence[ZooModel]) -> str:
    """How the models were made, as Markdown."""
    rows = ["| model | parameters | USD per 1M tokens | training | seed | sha256 of the weights |", "|---" * 6 + "|"]
    rows += [
        f"| {m.name} | {m.parameters:,} | {m.usd_per_million_tokens:.3f} | {m.steps} steps, {m.minutes:.0f} min "
        f"| {m.seed} | `{m.sha256}` |"
        for m in models
    ]
    return "\n".join(rows)


def write_card(text: str) -> None:
    """Put `text` between the card's marks."""
    before, _, rest = CARD.read_text().partition(_START)
    CARD.write_text(f"{before}{_START}\n\n{text}\n\n{_END}{rest.partition(_END)[2]}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(names()))
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK} questions in place of {_FULL}")
    parser.add_argument("--questions", type=int)
    parser.add_argument("--write", action="store_true", help="put the table into the model card")
    options = parser.parse_args()
    count = options.questions or (_QUICK if options.quick else _FULL)
    problems = ledger_problems(_SEED, count, split="held_out")
    found, pools = dict[str, dict[str, Any]](), list[Pool]()
    for name in options.names:
        begun, speaker = time.monotonic(), Speaker.load(path(name))
        pools.append(measures.sampled(speaker, problems))
        found[name] = measure(speaker, pools[-1])
        print(json.dumps({"model": name, "seconds": round(time.monotonic() - begun), **found[name]}), flush=True)
    text = "\n\n".join([facts([model(name) for name in options.names]), table(found, count), together(pools)])
    print(text)
    if options.write:
        write_card(text)


if __name__ == "__main__":
    main()
