"""What speculation does to a whole search: the demo's search with the captain's draft and without, wall time against
wall time.

    python bench/demo_speculation.py [--rounds 3] [--trials 8] [--questions 60]

Both arms make the same calls and get the same answers (the winners' hashes are compared), in a fresh folder each time,
in alternating order. Prints seconds of each run and the ratio with its spread, then one JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from archon import zoo
from archon.default_models import zoo_spec

ARMS = ("on", "off")


def searched(arm: str, work: Path, given: argparse.Namespace) -> tuple[float, str]:
    """Seconds of one search, and the hash of its winner."""
    rows, found = work / "models.yaml", work / "found.json"
    accelerated = [name for name in zoo.names() if zoo.model(name).draft]
    rows.write_text(json.dumps({"models": [_row(name, arm) for name in accelerated]}))  # JSON is YAML
    questions = {"search": given.questions // 2, "selection": given.questions // 2, "held_out": given.questions}
    command = [sys.executable, "-m", "archon", "search", "zoo", "--benchmark", "ledger+minicode", "--seed", "1"]
    command += ["--trials", str(given.trials), "--models", str(rows), "--out", str(work / "study")]
    command += [word for split, count in questions.items() for word in ("-o", f"{split}={count}")]
    begun = time.perf_counter()
    subprocess.run([*command, "--json", str(found)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun, _winner(json.loads(found.read_text()))


def _row(name: str, arm: str) -> dict[str, Any]:
    return {**zoo_spec(name).model_dump(mode="json", exclude_defaults=True), "options": {"speculation": arm}}


def _winner(found: dict[str, Any]) -> str:
    return str(found["winner"]["hash"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--questions", type=int, default=60, help="held-out ones; half as many for each other split")
    given = parser.parse_args()
    seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    winners = set[str]()
    for turn in range(given.rounds):
        for arm in ARMS if turn % 2 else reversed(ARMS):
            with tempfile.TemporaryDirectory() as work:
                took, winner = searched(arm, Path(work), given)
            seconds[arm].append(took)
            winners.add(winner)
            print(f"speculation {arm}: {took:.1f} s", flush=True)
    ratios = sorted(off / on for on, off in zip(seconds["on"], seconds["off"], strict=True))
    print(f"on is {median(ratios):.2f} times as fast ({ratios[0]:.2f} to {ratios[-1]:.2f}); winners: {len(winners)}")
    print(json.dumps({"bench": "demo_speculation", "seconds": seconds, "ratios": ratios, "winners": len(winners)}))


if __name__ == "__main__":
    main()
