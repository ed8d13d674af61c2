"""How close a run comes to its longest path, and what one run costs the processor.

    python bench/executor.py [--latency 0.1] [--repeat 20]

10 generators → critic → ranker → 3 fusers → fuser over fake models of a fixed latency: five stages, so the longest path
is five latencies. Prints the wall time against it, then the CPU time per run and per call with no latency at all, and
500 runs at once. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time

from archon import Critic, Fuser, Generator, Ranker
from archon.clients.stack import ClientStack
from archon.executor import Result, run
from archon.graph import Graph, check
from archon.models import ModelTable
from archon.types import user

STAGES = 5
CALLS = 10 + 1 + 1 + 3 + 1


def graph() -> Graph:
    """10 generators of different settings, so that none are merged, then the rest."""
    part = Generator("m", temperature=0.0)
    for step in range(1, 10):
        part = part | Generator("m", temperature=step / 10)
    fusers = Fuser("m", temperature=0.1) | Fuser("m", temperature=0.2) | Fuser("m", temperature=0.3)
    return check((part >> Critic("m") >> Ranker("m", keep=5) >> fusers >> Fuser("m")).architecture())


def stack(latency: float) -> ClientStack:
    """One fake model that answers every role in a form its prompt pack can parse."""
    answers = "bench.executor:answer"
    row = {"id": "m", "client": "fake", "options": {"latency": latency, "answers": answers}}
    return ClientStack(ModelTable.from_list([row]))


def answer(request: object) -> str:
    """A ranking, critiques and a solution at once: whichever role asks finds what it needs."""
    critiques = "\n".join(f"CRITIQUE {n}:\nclear and right" for n in range(1, 11))
    return f"{critiques}\nRANKING: {' > '.join(str(n) for n in range(1, 11))}"


async def walls(latency: float, repeat: int) -> tuple[list[float], Result]:
    """Wall times of single runs, one after the other, the first left out as a warm-up."""
    clients, times = stack(latency), []
    for _ in range(repeat + 1):
        began = time.perf_counter()
        result = await run(graph(), [user("q")], clients)
        times.append(time.perf_counter() - began)
    await clients.aclose()
    return times[1:], result


async def crowd(count: int, latency: float) -> tuple[float, int]:
    """Wall time of `count` runs at once, and how many answered."""
    clients, system = stack(latency), graph()
    began = time.perf_counter()
    results = await asyncio.gather(*(run(system, [user(f"question {i}")], clients) for i in range(count)))
    await clients.aclose()
    return time.perf_counter() - began, len(results)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.1, help="seconds of each call")
    parser.add_argument("--repeat", type=int, default=20)
    args = parser.parse_args()
    times, result = asyncio.run(walls(args.latency, args.repeat))
    notes = len(result.trace.notes)
    path = STAGES * args.latency
    began = time.process_time()
    asyncio.run(walls(0.0, args.repeat))
    cpu = (time.process_time() - began) / (args.repeat + 1)
    seconds, answered = asyncio.run(crowd(500, args.latency))
    figures = {
        "longest_path_s": path,
        "wall_s_median": statistics.median(times),
        "wall_s_worst": max(times),
        "bound_s": 1.05 * path + 0.02,
        "cpu_ms_per_run": 1e3 * cpu,
        "cpu_ms_per_call": 1e3 * cpu / CALLS,
        "crowd": {"runs": 500, "answered": answered, "wall_s": seconds},
        "fallbacks": notes,
    }
    print(f"longest path          {path:8.3f} s")
    print(f"wall time, median     {figures['wall_s_median']:8.3f} s   worst {figures['wall_s_worst']:.3f} s")
    print(f"1.05 × path + 20 ms   {figures['bound_s']:8.3f} s")
    print(f"CPU per run           {1e3 * cpu:8.2f} ms  ({CALLS} calls, {1e3 * cpu / CALLS:.2f} ms each)")
    print(f"500 runs at once      {seconds:8.2f} s   {answered} answered")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
