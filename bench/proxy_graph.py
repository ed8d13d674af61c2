"""What an architecture costs through the proxy: 5 generators → ranker → fuser over an upstream of 100 ms a call.

    python bench/proxy_graph.py [--seconds 6] [--profile] [--core 1] [--json FILE]

A real `archon serve` (key with budgets, ledger in SQLite, metrics, traces) in one process, the upstream in another
(bench/proxy_staged.py), the load in this one, all on one core. Three rounds: the median with 8 clients, the time to
the first streamed token with 8 clients, the throughput with 64 clients beside the ideal of 64 requests in three calls'
time. The ideal is 0.3 s a request; of the first token, two calls and the upstream's own first chunk.

CPU is the proxy process's own a request, all threads (beside it, what of it the threads of ledger and traces take),
which other load on the machine disturbs least. `--profile` runs
another round of 64 clients with cProfile inside the proxy (CPU time of its event loop's thread; it slows the proxy by
half or more, so it has a round of its own) and prints which part of the program the time goes to. Prints a table and
one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.proxy_processes import process, wait_for
from bench.proxy_staged import PRICE, Connection, Stage, answer, serve

UPSTREAM, PORT = 18110, 18111
LATENCY, FIRST = 0.1, 0.02
"""Seconds to the upstream's whole answer, and to its first chunk."""
NODES = [
    {"id": "drafts", "layer": "generator", "model": "m", "params": {"samples": 5}},
    {"id": "rank", "layer": "ranker", "model": "m", "inputs": ["drafts"]},
    {"id": "fused", "layer": "fuser", "model": "m", "inputs": ["rank"]},
]
CALLS, DEPTH = 7, 3


@dataclass
class Round:
    """What one load saw."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    cpu: float = 0.0
    """Seconds of the proxy process a request, its event loop's thread and the others."""
    threads: float = 0.0
    """The part of the other threads: ledger and traces."""
    load: float = 0.0
    """Runnable processes on the machine, one-minute average."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds


async def drive(clients: int, seconds: float, key: str, stream: bool) -> Round:
    """So many clients, each asking again as soon as it has its answer; starts are spread over one request's time."""
    found = Round()
    began = time.perf_counter()
    tickets = iter(range(10**9))

    async def client(number: int) -> None:
        connection = Connection(PORT, key)
        await asyncio.sleep(LATENCY * DEPTH * number / clients)
        while time.perf_counter() - began < seconds:
            ticket, asked = next(tickets), time.perf_counter()
            reply = await connection.ask(ticket, "archon/bench", stream=stream)
            found.latencies.append(time.perf_counter() - asked)
            found.firsts.append(reply.first)
            _check(reply.status, reply.body, ticket, stream)
        connection.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    found.seconds = time.perf_counter() - began
    return found


def _check(status: int, body: bytes, ticket: int, stream: bool) -> None:
    """An answer that is not this question's, or that took fewer calls, ends the bench."""
    if status != 200:
        raise SystemExit(f"{status}: {body[:300]!r}")
    if stream:
        assert body.rstrip().endswith(b"data: [DONE]"), body[-300:]
        return
    found = json.loads(body)
    assert found["choices"][0]["message"]["content"] == answer(ticket), body
    assert found["archon"]["calls"] == CALLS, body


@contextmanager
def served(folder: Path, core: int, profile: Path | None = None) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`archon serve` of the architecture, and a key."""
    from archon.proxy.keys import open_store

    system = folder / "bench.yaml"
    row = {"id": "m", "endpoint": f"http://127.0.0.1:{UPSTREAM}/v1", "price": PRICE}
    architecture = {"name": "bench", "nodes": NODES, "output": "fused"}
    system.write_text(json.dumps({"architecture": architecture, "models": [row]}))  # YAML holds JSON
    store = folder / "proxy.db"
    key, _ = open_store(str(store)).create("bench", usd_per_day=10**12, tokens_per_day=10**12)
    command = ["serve", str(system), "--store", str(store), "--port", str(PORT), "--log-level", "warning"]
    archon = [str(Path(sys.executable).with_name("archon"))]
    profiled = [sys.executable, "-m", "bench.proxy_graph", "--role", "profiled", "--into", str(profile), "--"]
    with process([*(profiled if profile else archon), *command], core) as child:
        assert wait_for(PORT, child), "the proxy did not start"
        yield child, key


def measured(clients: int, seconds: float, core: int, *, stream: bool = False, profile: Path | None = None) -> Round:
    """One round against a fresh proxy, warmed up."""
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), core, profile) as (child, key):
        asyncio.run(drive(4, 0.7, key, stream))
        if profile:
            child.send_signal(signal.SIGUSR1)
        before = on_cpu(child.pid)
        found = asyncio.run(drive(clients, seconds, key, stream))
        loop, threads = (now - then for now, then in zip(on_cpu(child.pid), before, strict=True))
        found.cpu, found.threads = (loop + threads) / len(found.latencies), threads / len(found.latencies)
        found.load = os.getloadavg()[0]
        if profile:
            child.send_signal(signal.SIGUSR2)
            _wait_for_file(profile)
    return found


def on_cpu(pid: int) -> tuple[float, float]:
    """Seconds that a process's first thread, and its others together, have run."""
    first = others = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        seconds = int((task / "schedstat").read_text().split()[0]) / 1e9
        if task.name == str(pid):
            first = seconds
        else:
            others += seconds
    return first, others


# --- where the time goes ----------------------------------------------------------------------------------------------

_PARTS = (
    ("archon/proxy/ledger", "ledger"),
    ("archon/proxy/metered", "ledger"),
    ("archon/proxy/book", "ledger"),
    ("archon/proxy/metrics", "metrics, logs"),
    ("archon/proxy/logs", "metrics, logs"),
    ("prometheus_client", "metrics, logs"),
    ("/logging/", "metrics, logs"),
    ("archon/proxy/", "proxy: request, answer, trace"),
    ("archon/prompts", "prompts"),
    ("archon/quoting", "prompts"),
    ("archon/parsing", "prompts"),
    ("jinja2", "prompts"),
    ("<template>", "prompts"),
    ("hmac", "prompts"),
    ("archon/clients/", "client stack"),
    ("archon/types", "values, canonical JSON"),
    ("archon/", "executor, context, layers"),
    ("layers/", "executor, context, layers"),
    ("json/", "JSON"),
    ("aiohttp", "aiohttp"),
    ("yarl", "aiohttp"),
    ("multidict", "aiohttp"),
    ("uvicorn", "uvicorn"),
    ("dataclasses", "values, canonical JSON"),
    ("asyncio", "asyncio"),
    ("contextlib", "asyncio"),
)


def part_of(file: str, function: str) -> str:
    """The part of the program that a profiled function belongs to."""
    if file == "~":
        named = {"json": "JSON", "_asyncio": "asyncio", "run_until_complete": "event loop, sockets (uvloop)"}
        return next((part for word, part in named.items() if word in function), "built-in functions")
    return next((part for piece, part in _PARTS if piece in file), "other")


def parts(path: Path) -> list[tuple[str, float]]:
    """Share of the profiled time by part of the program, largest first."""
    times: Counter[str] = Counter()
    for (file, _, function), row in pstats.Stats(str(path)).stats.items():  # type: ignore[attr-defined]
        times[part_of(file, function)] += row[2]
    total = sum(times.values())
    return [(part, seconds / total) for part, seconds in times.most_common()]


def _profiled(arguments: list[str], into: Path) -> None:
    """`archon` with these arguments, under cProfile from SIGUSR1 to SIGUSR2."""
    from archon.cli import main as archon

    profile = cProfile.Profile(time.thread_time)

    def finish(*_: object) -> None:
        profile.disable()
        profile.dump_stats(into.with_suffix(".part"))
        into.with_suffix(".part").replace(into)

    signal.signal(signal.SIGUSR1, lambda *_: profile.enable())
    signal.signal(signal.SIGUSR2, finish)
    archon(arguments)


def _wait_for_file(path: Path) -> None:
    end = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < end, "the profile was not written"
        time.sleep(0.05)


def show_profile(seconds: float, core: int) -> list[tuple[str, float]]:
    """Prints where the CPU time of the event loop's thread goes under 64 clients."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profile"
        found = measured(64, seconds, core, profile=path)
        rows = parts(path)
        print(f"\nprofile, {len(found.latencies)} requests: share of the event loop's CPU time")
        for part, share in rows:
            print(f"  {part:32} {share:6.1%}")
        pstats.Stats(str(path)).sort_stats("tottime").print_stats(20)
    return rows


# --- the table --------------------------------------------------------------------------------------------------------


def main() -> None:
    """Runs the benchmark, or one of its processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--role", choices=["upstream", "profiled"])
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--into", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("rest", nargs="*")
    given = parser.parse_args()
    if given.role == "upstream":
        serve(UPSTREAM, Stage(LATENCY, FIRST))
    elif given.role == "profiled":
        _profiled(given.rest, given.into)
    else:
        _compare(given)


def _compare(given: argparse.Namespace) -> None:
    os.sched_setaffinity(0, {given.core})
    with ExitStack() as stack:
        command = [sys.executable, "-m", "bench.proxy_graph", "--role", "upstream"]
        assert wait_for(UPSTREAM, stack.enter_context(process(command, given.core))), "the upstream did not start"
        eight = measured(8, given.seconds, given.core)
        streamed = measured(8, given.seconds, given.core, stream=True)
        many = measured(64, given.seconds, given.core)
        rows = table(eight, streamed, many)
        shares = show_profile(given.seconds, given.core) if given.profile else []
    line = {"bench": "proxy_graph", "core": given.core, **rows, "profile": {k: round(v, 3) for k, v in shares}}
    print(json.dumps(line))
    if given.json:
        given.json.write_text(json.dumps(line, indent=2) + "\n")


def table(eight: Round, streamed: Round, many: Round) -> dict[str, Any]:
    """Prints the figures; returns them."""
    ideal = 64 / (DEPTH * LATENCY)
    median, first = statistics.median(eight.latencies) * 1e3, statistics.median(streamed.firsts) * 1e3
    floor = (DEPTH - 1) * LATENCY * 1e3 + FIRST * 1e3
    print(f"{'':40} {'measured':>10} {'ideal':>8} {'CPU ms/req':>11} {'threads':>8} {'load':>6}")
    for name, value, best, found in (
        ("8 clients: median, ms", median, DEPTH * LATENCY * 1e3, eight),
        ("8 clients: first streamed token, ms", first, floor, streamed),
        ("64 clients: requests/s", many.rate, ideal, many),
    ):
        print(
            f"{name:40} {value:10.1f} {best:8.1f} {found.cpu * 1e3:11.2f} {found.threads * 1e3:8.2f} {found.load:6.1f}"
        )
    print(f"{'64 clients: share of the ideal':40} {many.rate / ideal:10.0%}")
    return {
        "median_ms": round(median, 1),
        "first_token_ms": round(first, 1),
        "requests_per_second": round(many.rate, 1),
        "of_ideal": round(many.rate / ideal, 3),
        "cpu_ms": [round(found.cpu * 1e3, 2) for found in (eight, streamed, many)],
        "load": [round(found.load, 1) for found in (eight, streamed, many)],
    }


if __name__ == "__main__":
    main()
