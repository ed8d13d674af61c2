"""Search on recorded answers, where the truth is known: how near does a search come to the exhaustive best?

Twenty settings of seven model families answered the 1,319 test questions of GSM8K; the recording is replayed. The space
is every set of one to five settings whose majority answer is taken: 21,699 systems, few enough to know the best one on
the selection split by brute force. A search may measure 2 % of them.

    python bench/replay_search.py --seeds 20     # 4 without --seeds; a seed takes a minute or two of one core

Prints a table and one JSON line. Needs gsm8k/recorded.parquet and gsm8k/test.jsonl.gz below --data (default:
ARCHON_TEST_DATA, else ../shared/data).
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from math import comb
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

from archon.evals.benchmarks.jsonl import Jsonl
from archon.extract import extractor, stated_number
from archon.search import SearchSettings, Space, parse_space, search
from archon.search.build import FAMILY, architecture
from archon.search.store import Study

SPLITS = {"search": 500, "selection": 600, "held_out": 219}
LARGEST = 5
SYSTEMS = 21_699
TRIALS = 400
"""With the 20 single settings, which are measured in any case, at most 420 sets: 1.9 % of all."""
FINALISTS = 200
COLUMNS = ("source", "model", "strategy")

Bits = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Recording:
    """What the settings answered, as small numbers: 0 = the right answer, -1 = none, else a wrong one."""

    names: tuple[str, ...]
    codes: npt.NDArray[np.int16]  # (setting, question)
    questions: tuple[tuple[str, str], ...]
    """Text and right answer, by line of the file."""


def read(data: Path) -> Recording:
    """Reads the recording with the engine's own answer reader."""
    from pyarrow import parquet

    with gzip.open(data / "gsm8k" / "test.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    right = [str(stated_number(row["answer"])) for row in rows]
    number, answers = extractor("number"), dict[str, dict[int, str | None]]()
    for row in parquet.read_table(data / "gsm8k" / "recorded.parquet").to_pylist():
        answers.setdefault("/".join(row[name] for name in COLUMNS), {})[row["q"]] = number(row["text"] or "")
    names = tuple(sorted(answers))
    codes = np.full((len(names), len(rows)), -1, np.int16)
    for question, reference in enumerate(right):
        wrong: dict[str, int] = {}
        for index, name in enumerate(names):
            said = answers[name].get(question)
            if said is not None:
                codes[index, question] = 0 if said == reference else wrong.setdefault(said, 1 + len(wrong))
    return Recording(names, codes, tuple((row["question"], answer) for row, answer in zip(rows, right, strict=True)))


def space_of(data: Path, recording: Recording) -> Space:
    """Every set of one to five settings and their vote."""
    options = {
        "path": str(data / "gsm8k" / "recorded.parquet"),
        "questions": str(data / "gsm8k" / "test.jsonl.gz"),
        "question": "q",
        "model": list(COLUMNS),
        "answer": "text",
    }
    stages = [{"layer": "generator", "models": "$team"}, {"layer": "vote", "skip_below": 2}]
    choices = {"team": {"subset_of": list(recording.names), "at_most": LARGEST}}
    return parse_space(
        {
            "name": "gsm8k-sets",
            "models": [{"id": name, "client": "replay", "options": options} for name in recording.names],
            "families": [{"name": "vote", "choices": choices, "stages": stages}],
        }
    )


def benchmark(recording: Recording, folder: Path, seed: int) -> tuple[Jsonl, dict[str, list[int]]]:
    """The questions dealt to the splits by a seed, and the lines of each split."""
    dealt = [split for split, size in SPLITS.items() for _ in range(size)]
    Random(seed).shuffle(dealt)
    path = folder / "questions.jsonl"
    rows = [
        {"question": question, "answer": answer, "split": split}
        for (question, answer), split in zip(recording.questions, dealt, strict=True)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    lines = {split: [index for index, where in enumerate(dealt) if where == split] for split in SPLITS}
    return Jsonl.load(path=path), lines


def exhaustive(recording: Recording, space: Space) -> dict[str, Bits]:
    """Whether each system is right on each question, by canonical hash; computed apart from the engine's vote."""
    found: dict[str, Bits] = {}
    index = {name: number for number, name in enumerate(recording.names)}
    for size in range(1, LARGEST + 1):
        for team in combinations(recording.names, size):
            made = architecture(space, {FAMILY: "vote", "team": team})
            # A tie goes to the answer that stands first, and candidates stand in canonical order.
            order = [index[node.arguments["model"]] for node in made.canonical_nodes if not node.inputs]
            found[made.hash] = majority(recording.codes[order])
    return found


def majority(codes: npt.NDArray[np.int16]) -> Bits:
    """Right or wrong by plurality; ties go to the first, and no answer does not vote."""
    same = (codes[:, None, :] == codes[None, :, :]) & (codes[:, None, :] >= 0)  # (voter, voter, question)
    votes = np.where(codes >= 0, same.sum(axis=0), 0)
    # argmax gives the first of equals.
    chosen = votes.argmax(axis=0)
    right: Bits = codes[chosen, np.arange(codes.shape[1])] == 0
    return right


def run(data: Path, recording: Recording, truth: dict[str, Bits], seed: int, sampler: str = "local") -> dict[str, Any]:
    """One search and how it compares with the truth."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        questions, lines = benchmark(recording, folder, seed)
        settings = SearchSettings(
            space=space_of(data, recording),
            benchmark=questions,
            out=folder / "study",
            trials=TRIALS,
            finalists=FINALISTS,
            seed=seed,
            sampler=sampler,
            batch=8,
        )
        result = asyncio.run(search(settings))
        study = Study(settings.out, settings.identity, resume=True)
        study.close()
    rival = study.measured["held_out", result.summary["best_single"]["hash"]].architecture.model_ids[0]
    winner = result.summary["winner"]["hash"]
    ours = truth[winner][lines["held_out"]]
    theirs = recording.codes[recording.names.index(rival)][lines["held_out"]] == 0
    # Whole questions: 3 of 600 are half a point, which the difference of two rounded shares may miss.
    solved = {key: int(bits[lines["selection"]].sum()) for key, bits in truth.items()}
    return {
        "seed": seed,
        "evaluated": len({each.hash for each in study.order} & truth.keys()),
        "gap": 100 * (max(solved.values()) - solved[winner]) / len(lines["selection"]),
        "quality": result.summary["winner"]["quality"],
        "quality_apart": float(ours.mean()),
        "verdict": verdict_of(result.verdict),
        "verdict_apart": by_mcnemar(ours, theirs),
        "cpu_seconds": time.process_time() - began,
    }


def verdict_of(text: str) -> str:
    """What the search's words say of the winner and the best single model."""
    said = [word for word in ("better", "worse") if text.startswith(f"The winner is {word} than")]
    return said[0] if said else "undecided"


def by_mcnemar(ours: Bits, theirs: Bits) -> str:
    """The exact two-sided McNemar test at 5 %, as a binomial sum of its own."""
    wins, losses = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    total = wins + losses
    tail = sum(comb(total, k) for k in range(min(wins, losses) + 1)) / 2**total
    if 2 * tail >= 0.05:
        return "undecided"
    return "better" if wins > losses else "worse"


def main() -> None:
    """Runs the seeds, two processes at once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ARCHON_TEST_DATA", "../shared/data")))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--sampler", default="local")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    if not (given.data / "gsm8k" / "recorded.parquet").is_file():
        print(f"skipped: no gsm8k/recorded.parquet in {given.data}; give --data or set ARCHON_TEST_DATA")
        return
    recording = read(given.data)
    truth = exhaustive(recording, space_of(given.data, recording))
    assert len(truth) == SYSTEMS, len(truth)
    one = partial(run, given.data, recording, truth, sampler=given.sampler)
    rows = []
    print(f"{'seed':>4} {'sets':>5} {'gap':>6} {'held-out':>9} {'verdict':>10} {'McNemar':>10} {'CPU s':>6}")
    with ProcessPoolExecutor(given.processes) as pool:
        for row in pool.map(one, range(given.seeds)):
            rows.append(row)
            print(
                f"{row['seed']:>4} {row['evaluated']:>5} {row['gap']:>6.2f} {100 * row['quality']:>8.1f}% "
                f"{row['verdict']:>10} {row['verdict_apart']:>10} {row['cpu_seconds']:>6.0f}",
                flush=True,
            )
    near = sum(row["gap"] <= 0.5 for row in rows)
    agreed = sum(row["verdict"] == row["verdict_apart"] for row in rows)
    most = max(row["evaluated"] for row in rows)
    print(
        json.dumps({"seeds": len(rows), "within_half_a_point": near, "verdicts_agree": agreed, "most_evaluated": most})
    )


if __name__ == "__main__":
    main()
