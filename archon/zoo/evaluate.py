"""Measure the zoo and write its model card's tables: `python -m archon.zoo.evaluate [NAME …] [--quick] [--write]`.

Questions come from the held-out splits with a seed of their own. Each model prints one JSON line a family; the tables
follow, and `--write` puts them into `archon/zoo/README.md`. With `--quick` fewer questions are asked, so its figures
lie within wider intervals.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archon.zoo import ZooModel, judging, measures, model, names, path
from archon.zoo.families import FAMILIES, Family
from archon.zoo.generate import Speaker
from archon.zoo.measures import TEMPERATURE, Pool, Share, share

CARD = Path(__file__).parent / "README.md"
_SEED = 2026
_FULL, _QUICK = 100, 40
SAMPLES = (1, 2, 5, 10, 20)
JUDGED = 5  # samples a judge is shown
_START, _END = "<!-- measured -->", "<!-- /measured -->"

Figures = dict[str, Any]


def measure(speaker: Speaker, pool: Pool) -> Figures:
    """Every figure of one model on a pool of its own samples: shares as [value, low, high], in 0..1."""
    greedy = measures.greedy(speaker, pool.family, pool.problems)
    votes = {f"vote of {n}": share(measures.voted(pool.first(n))) for n in SAMPLES if n > 2}
    best = {f"best of {n}": share(measures.best_of(pool.first(n))) for n in SAMPLES if n > 1}
    kinds = {f"kind {kind}": share(_of_kind(pool, greedy, kind)) for kind in _kinds(pool)}
    shares = {
        "greedy": share(greedy),
        "sampled": share([right for row in pool.right for right in row]),
        **votes,
        **best,
        **kinds,
    }
    return {name: _figures(one) for name, one in shares.items()} | judge(speaker, pool.first(JUDGED))


def judge(speaker: Speaker, pool: Pool) -> Figures:
    """The figures of the judging roles."""
    ranked, chance = judging.ranked(speaker, pool)
    sound, written = judging.tests_written(speaker, pool)
    bins, error = judging.calibrated(speaker, pool)
    shares = {
        "fuse": share(measures.fused(speaker, pool)),
        "rank first": ranked,
        "compare": judging.compared(speaker, pool),
        "critique": judging.critiqued(speaker, pool),
        "verify": judging.verified(speaker, pool),
        "tests sound": sound,
        "tests judged": judging.tests_judged(speaker, pool, written),
        **{f"right where {level:.0%} say so": found for level, found in bins},
    }
    figures = {name: _figures(one) if one.count else None for name, one in shares.items()}
    return figures | {"rank chance": round(chance, 3), "calibration error": round(error, 3)}


def _kinds(pool: Pool) -> list[str]:
    return sorted({problem.kind for problem in pool.problems})


def _of_kind(pool: Pool, marks: Sequence[bool], kind: str) -> list[bool]:
    return [mark for mark, problem in zip(marks, pool.problems, strict=True) if problem.kind == kind]


def _figures(one: Share) -> list[float]:
    return [round(figure, 3) for figure in (one.value, *one.interval)]


def families(name: str) -> list[Family]:
    """The families a model was trained for; none for a draft."""
    return [FAMILIES[part] for part in model(name).family.split("+") if part in FAMILIES]


def table(found: Mapping[str, Figures], title: str) -> str:
    """The figures as Markdown: a row a figure, a column a model."""
    rows = [f"| {title} | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    asked = dict.fromkeys(figure for figures in found.values() for figure in figures)
    for figure in (each for each in asked if any(figures.get(each) is not None for figures in found.values())):
        cells = (_cell(figures.get(figure)) for figures in found.values())
        rows.append(f"| {_TITLES.get(figure, figure)} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _cell(figure: list[float] | float | None) -> str:
    if isinstance(figure, list):
        return f"{figure[0]:.1%} ({figure[1] * 100:.1f}–{figure[2] * 100:.1f})"
    return "" if figure is None else f"{figure:.1%}"


_TITLES = {
    "greedy": "solve, greedy",
    "sampled": f"solve, one sample at T = {TEMPERATURE}",
    "fuse": f"fuse {JUDGED} own samples",
    "rank first": f"rank {JUDGED} own samples: first is right (where they differ)",
    "rank chance": "rank: the first by chance",
    "compare": "compare a right and a wrong sample (chance 50 %)",
    "critique": "critique finds fault with the wrong one of two, and only with it (chance 25 %)",
    "verify": "verify: reasoning and verdict, balanced (chance 50 %)",
    "calibration error": f"verify: calibration error over {judging.OPINIONS} drawn opinions",
    "tests sound": "tests written that a right answer passes",
    "tests judged": "tests in plain words judged rightly on own samples",
}


def facts(models: Sequence[ZooModel], speeds: Mapping[str, float]) -> str:
    """How the models were made, as Markdown."""
    rows = [
        "| model | families | parameters | USD per 1M tokens | training | seed | tokens/s | sha256 of the weights |",
        "|---" * 8 + "|",
    ]
    rows += [
        f"| {m.name} | {m.family} | {m.parameters:,} | {m.usd_per_million_tokens:.3f} "
        f"| {m.steps} steps, {m.minutes:.0f} min | {m.seed} | {speeds.get(m.name, 0):,.0f} | `{m.sha256}` |"
        for m in models
    ]
    return "\n".join(rows)


def write_card(text: str) -> None:
    """Put `text` between the card's marks."""
    before, _, rest = CARD.read_text().partition(_START)
    CARD.write_text(f"{before}{_START}\n\n{text}\n\n{_END}{rest.partition(_END)[2]}")


def speed(speaker: Speaker, pool: Pool) -> float:
    """Tokens a second of answers, 64 at once, through transformers."""
    begun = time.perf_counter()
    texts = measures.ask(speaker, "generate", [measures.inputs(problem) for problem in pool.problems[:64]])
    return sum(len(speaker.vocabulary.plain(text)) for text in texts) / (time.perf_counter() - begun)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(names()))
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK} questions in place of {_FULL}")
    parser.add_argument("--questions", type=int)
    parser.add_argument("--write", action="store_true", help="put the tables into the model card")
    options = parser.parse_args()
    count = options.questions or (_QUICK if options.quick else _FULL)
    found, pools, speeds = dict[str, dict[str, Figures]](), dict[str, list[Pool]](), dict[str, float]()
    for name in options.names:
        for family in families(name):
            begun, speaker = time.monotonic(), Speaker.load(path(name))
            pool = measures.sampled(speaker, family, family.problems(_SEED, count), max(SAMPLES))
            figures = measure(speaker, pool)
            speeds[name] = speed(speaker, pool)
            seconds = round(time.monotonic() - begun)
            print(json.dumps({"model": name, "family": family.name, "seconds": seconds, **figures}), flush=True)
            found.setdefault(family.name, {})[name] = figures
            pools.setdefault(family.name, []).append(pool)
    text = "\n\n".join([facts([model(name) for name in options.names], speeds), *_tables(found, pools, count)])
    print(text)
    if options.write:
        write_card(text)


def _tables(found: Mapping[str, Mapping[str, Figures]], pools: Mapping[str, Sequence[Pool]], count: int) -> list[str]:
    parts = list[str]()
    for family, figures in found.items():
        parts.append(table(figures, f"`{family}`, percent right ({count} questions)"))
        if len(pools[family]) > 1:
            everyone = measures.together([pool.first(JUDGED) for pool in pools[family]])
            vote = _cell(_figures(share(measures.voted(everyone))))
            who = f"{JUDGED} samples at T = {TEMPERATURE} of each of the {len(pools[family])} models"
            parts.append(f"`{family}`: a vote over {who}: **{vote}**.")
    return parts


if __name__ == "__main__":
    main()
