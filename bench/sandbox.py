"""Runs a second of the sandbox, each in fresh processes, beside bare Python processes without any isolation.

    python bench/sandbox.py [--runs 40] [--rounds 7] [--workers 2]

Every run is another program with one test. Rounds of all arms are interleaved, so that a slow minute of the machine
hits all alike; the ratio to bare processes is taken round by round. Prints a table and one JSON line: runs a second
(median, and the worst and best round), ratio (the same), and what one run takes by itself, a worker standing ready.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from archon.sandbox import CodeSandbox, probe_all
from archon.sandbox.backends import interpreter

TARGET = 20.0
"""Runs a second on two processors."""

Run = Callable[[int], Awaitable[bool]]


def program(number: int) -> str:
    """A program nobody has run before."""
    return f"import math\n\ndef f(x):\n    return math.floor(x) + {number}\n"


def sandboxed(sandbox: CodeSandbox) -> Run:
    """A run in the sandbox; its verdict must be right."""

    async def run(number: int) -> bool:
        return await sandbox.check(program(number), f"assert f(1.5) == {number + 1}")

    return run


def bare(threads: ThreadPoolExecutor) -> Run:
    """A run in a Python process without any isolation: what the sandbox's price is measured against."""

    def once(number: int) -> bool:
        code = f"import json\n{program(number)}\nassert f(1.5) == {number + 1}"
        return subprocess.run([interpreter(), "-S", "-s", "-P", "-B", "-c", code]).returncode == 0

    async def run(number: int) -> bool:
        return await asyncio.get_running_loop().run_in_executor(threads, once, number)

    return run


async def round_of(run: Run, numbers: range) -> float:
    """Runs a second with all runs asked for at once."""
    began = time.perf_counter()
    verdicts = await asyncio.gather(*map(run, numbers))
    assert all(verdicts), "a right program failed its test"
    return len(numbers) / (time.perf_counter() - began)


async def alone(run: Run, first: int, count: int = 9) -> float:
    """Median seconds of a run by itself, a moment after the last."""
    times = []
    for number in range(first, first + count):
        await asyncio.sleep(0.3)
        began = time.perf_counter()
        assert await run(number)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


async def measure(arms: dict[str, Run], runs: int, rounds: int) -> dict[str, dict[str, float]]:
    """All figures by arm; one round of warm-up is left out."""
    rates: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(rounds + 1):
        for name, run in arms.items():
            rate = await round_of(run, range(number * runs, (number + 1) * runs))
            rates[name] += [rate] if number else []
    figures = {}
    for name, run in arms.items():
        ratios = [own / base for own, base in zip(rates[name], rates["bare"], strict=True)]
        figures[name] = {
            "runs_per_s": statistics.median(rates[name]),
            "runs_per_s_worst": min(rates[name]),
            "runs_per_s_best": max(rates[name]),
            "ratio": statistics.median(ratios),
            "ratio_worst": min(ratios),
            "ratio_best": max(ratios),
            "alone_ms": 1e3 * await alone(run, (rounds + 1) * runs),
        }
    return figures


def main() -> None:
    """Measures every safe backend of this machine and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40, help="runs a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    backends = [finding.backend for finding in probe_all() if finding.safe]
    with ExitStack() as stack:
        arms = {"bare": bare(stack.enter_context(ThreadPoolExecutor(args.workers)))}
        for backend in backends:
            name = f"{backend.name}{'-userns' if backend.user_namespace else ''}"
            arms[name] = sandboxed(stack.enter_context(CodeSandbox(backend=backend, workers=args.workers)))
        figures = asyncio.run(measure(arms, args.runs, args.rounds))
    print(f"{'':20} {'runs/s':>8} {'worst':>8} {'best':>8} {'ratio':>7} {'alone':>9}")
    for name, each in figures.items():
        rates = f"{each['runs_per_s']:8.1f} {each['runs_per_s_worst']:8.1f} {each['runs_per_s_best']:8.1f}"
        print(f"{name:20} {rates} {each['ratio']:7.2f} {each['alone_ms']:6.0f} ms")
    facts = {"workers": args.workers, "target_runs_per_s": TARGET, "load": os.getloadavg()[0], "arms": figures}
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
