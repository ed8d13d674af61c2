"""Measure the zoo: `python -m archon.zoo.evaluate [NAME …] [--quick] [--write] [--check]`.

Questions come from the held-out splits with a seed of their own. Each model prints one JSON line a family; the model
card's tables follow. `--write` puts them into the card (`archon/zoo/README.md`), beside those of the models not named.
`--check` tells which figures are not those of the card: the two 95 % intervals have nothing in common. With `--quick`
fewer questions are asked, so its figures lie within wider intervals.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from archon.zoo import judging, measures, model, names, path
from archon.zoo.card import Card, Figures, differing, load, save, text
from archon.zoo.families import FAMILIES, Family
from archon.zoo.generate import Speaker
from archon.zoo.measures import Pool, Share, share

_SEED = 2026
_FULL, _QUICK = 100, 40
SAMPLES = (1, 2, 5, 10, 20)
JUDGED = 5  # samples a judge is shown


def measure(speaker: Speaker, pool: Pool) -> Figures:
    """Every figure of one model on a pool of its own samples: shares as [value, low, high], in 0..1."""
    greedy = measures.greedy(speaker, pool.family, pool.problems)
    votes = {f"vote of {n}": share(measures.voted(pool.first(n))) for n in SAMPLES if n > 2}
    best = {f"best of {n}": share(measures.best_of(pool.first(n))) for n in SAMPLES if n > 1}
    kinds = {f"kind {kind}": share(_of_kind(pool, greedy, kind)) for kind in _kinds(pool)}
    shares = {
        "greedy": share(greedy),
        "sampled": measures.clustered(pool.right),
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


def speed(speaker: Speaker, pool: Pool) -> float:
    """Tokens a second of answers, 64 at once, through transformers."""
    begun = time.perf_counter()
    texts = measures.ask(speaker, "generate", [measures.inputs(problem) for problem in pool.problems[:64]])
    return sum(len(speaker.vocabulary.plain(text)) for text in texts) / (time.perf_counter() - begun)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(names()))
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK} questions in place of {_FULL}")
    parser.add_argument("--questions", type=int)
    parser.add_argument("--write", action="store_true", help="put the tables into the model card")
    parser.add_argument("--check", action="store_true", help="compare with the model card; exit code 1 if they differ")
    options = parser.parse_args()
    strangers = [name for name in options.names if name not in names()]
    if strangers:
        parser.error(f"no model {', '.join(strangers)}; there are {', '.join(names())}")
    known = load()
    count = options.questions or (_QUICK if options.quick else _FULL)
    found = measured(options.names, count)
    # Read anew: another run may have written meanwhile.
    card = load().with_(found) if options.write else found
    print(text(card))
    if options.write:
        save(card)
    if options.check:
        sys.exit(_differs(found, known))


def measured(chosen: Sequence[str], count: int) -> Card:
    """What the models called `chosen` score on `count` questions of each of their families."""
    found, pools, speeds = dict[str, dict[str, Figures]](), dict[str, list[Pool]](), dict[str, float]()
    for name in chosen:
        for family in families(name):
            begun, speaker = time.monotonic(), Speaker.load(path(name))
            pool = measures.sampled(speaker, family, family.problems(_SEED, count), max(SAMPLES))
            figures = measure(speaker, pool)
            speeds[name] = speed(speaker, pool)
            seconds = round(time.monotonic() - begun)
            print(json.dumps({"model": name, "family": family.name, "seconds": seconds, **figures}), flush=True)
            found.setdefault(family.name, {})[name] = figures
            pools.setdefault(family.name, []).append(pool.first(JUDGED))
    together = {family: _together(made) for family, made in pools.items() if len(made) > 1}
    weights = {name: model(name).sha256 for name in speeds}
    return Card(dict.fromkeys(speeds, count), weights, speeds, found, together)


def _together(pools: Sequence[Pool]) -> dict[str, Any]:
    """A vote over the first samples of several models."""
    return {"models": len(pools), "vote": _figures(share(measures.voted(measures.together(pools))))}


def _differs(found: Card, known: Card) -> int:
    """Says which figures are not the card's; the exit code."""
    said, compared = differing(found, known)
    print("\n".join([*said, f"{compared - len(said)} of {compared} figures agree with the model card"]))
    return int(bool(said))


if __name__ == "__main__":
    main()
