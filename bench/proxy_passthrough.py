"""What passing a plain model through costs: our proxy beside a minimal pass-through, LiteLLM's proxy and optillm.

    python bench/proxy_passthrough.py [--seconds 3] [--rounds 5] [--peers DIR] [--peer NAME] [--one-core] [--json FILE]

One worker each, one instant upstream, one machine; the proxy under test has core 1 to itself, upstream and load
share core 0 (`--one-core`: everything on core 1, for a machine whose core 0 is busy; ratios then lean towards 1).
Ours runs as `archon serve` with a key (budgets in dollars and tokens), its ledger in SQLite, metrics on. The minimal
one is FastAPI + aiohttp, a few lines below: what Python can do when it does nothing else. Requests a second with 16
connections and the median latency with one; rounds are interleaved and the ratio is taken round by round. CPU is the
proxy process's own (all threads) per request, which other load on the machine disturbs least.

`--peers DIR` makes virtual environments in DIR, installs LiteLLM (never 1.82.7 or 1.82.8, which were malicious) and
optillm (without its plugins' requirements) into them, and measures them too (`--peer NAME`: that one alone); a peer
that cannot be installed is left out with a line that says so. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.proxy_processes import cpu_seconds, process, wait_for
from bench.proxy_staged import Requests

UPSTREAM, PORTS = 18100, {"ours": 18101, "minimal": 18102, "litellm": 18103, "optillm": 18104}
CONNECTIONS = 16
PEERS = {
    "litellm": "litellm[proxy]>=1.83,!=1.82.7,!=1.82.8",
    "optillm": "flask cerebras_cloud_sdk openai z3-solver<=4.15.4.0 aiohttp numpy networkx pyyaml requests math-verify",
}
"""What pip is given. Of optillm's forty requirements its proxy imports these; the others (torch, transformers, spacy,
gradio …) belong to plugins, which it leaves out with a word when they cannot be imported."""
ALONE = ("optillm",)
"""Packages that are installed without what they require."""
BODY = json.dumps(
    {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "What is two plus two? " * 8}]}
).encode()
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Two plus two is four. " * 10},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 50, "completion_tokens": 60, "total_tokens": 110},
    }
).encode()
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)


# --- the upstream: as little HTTP as possible ------------------------------------------------------------------------


class Instant(Requests):
    """Answers every request with the same bytes at once."""

    def asked(self, head: bytes, body: bytes) -> None:
        self._transport.write(_HEAD + ANSWER)


async def upstream() -> None:
    """Serves until killed."""
    server = await asyncio.get_running_loop().create_server(Instant, "127.0.0.1", UPSTREAM)
    await server.serve_forever()


def minimal() -> Any:
    """A pass-through that does nothing else: the practical limit."""
    import aiohttp
    from fastapi import FastAPI, Request, Response

    app = FastAPI()
    sessions: list[aiohttp.ClientSession] = []

    async def chat(request):  # type: ignore[no-untyped-def]  # FastAPI reads real annotations, set below
        if not sessions:
            sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        url = f"http://127.0.0.1:{UPSTREAM}/v1/chat/completions"
        headers = {"Content-Type": "application/json"}
        async with sessions[0].post(url, data=await request.body(), headers=headers) as answer:
            return Response(await answer.read(), answer.status, media_type="application/json")

    chat.__annotations__["request"] = Request
    app.post("/v1/chat/completions")(chat)
    return app


# --- the load: raw connections, one request after another on each ----------------------------------------------------


@dataclass
class Load:
    """What one round saw."""

    requests: int = 0
    failures: int = 0
    latencies: list[float] = field(default_factory=list)


async def drive(port: int, connections: int, seconds: float, key: str) -> Load:
    """Sends requests over so many connections at once."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {len(BODY)}\r\n\r\n"
    )
    load, end = Load(), time.perf_counter() + seconds
    await asyncio.gather(*(_connection(port, head.encode() + BODY, end, load) for _ in range(connections)))
    return load


async def _connection(port: int, request: bytes, end: float, load: Load) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    while (began := time.perf_counter()) < end:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        await _body(reader, head.lower())
        if b"\r\nconnection: close" in head.lower():  # optillm's server closes after every answer
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        load.latencies.append(time.perf_counter() - began)
        load.requests += 1
        load.failures += not head.startswith(b"HTTP/1.1 200")
    writer.close()


async def _body(reader: asyncio.StreamReader, head: bytes) -> None:
    if b"content-length:" in head:
        await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        return
    while size := int(await reader.readline(), 16):
        await reader.readexactly(size + 2)
    await reader.readexactly(2)


# --- the proxies ------------------------------------------------------------------------------------------------------


@dataclass
class Arm:
    """One proxy under test and what it showed."""

    name: str
    command: list[str]
    environ: dict[str, str] = field(default_factory=dict)
    key: str = "sk-bench"
    pid: int = 0
    rates: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def ours(folder: Path, ledger: bool) -> Arm:
    """`archon serve` with a key, ledger and metrics; a file of one model and an architecture beside it."""
    from archon.proxy.keys import open_store

    system = folder / "system.yaml"
    system.write_text(
        "architecture:\n  name: a\n  nodes: [{id: g, layer: generator, model: m}]\n  output: g\nmodels:\n"
        f"  - {{id: m, endpoint: 'http://127.0.0.1:{UPSTREAM}/v1', price: {{prompt: 1, completion: 2}}, retries: 0}}\n"
    )
    store = folder / "proxy.db"
    limits = {"usd_per_day": 10**12, "tokens_per_day": 10**12} if ledger else {}
    secret, _ = open_store(str(store)).create("bench", **limits)
    command = [str(Path(sys.executable).with_name("archon")), "serve", str(system), "--store", str(store)]
    return Arm("ours", [*command, "--port", str(PORTS["ours"]), "--log-level", "warning"], key=secret)


def peers(root: Path, names: Sequence[str]) -> list[Arm]:
    """LiteLLM and optillm, each in an environment of its own, as far as they can be installed."""
    arms = []
    for name in names:
        folder = root / name
        if not (folder / "bin" / "python").exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        steps = [["--no-deps", name], PEERS[name].split()] if name in ALONE else [PEERS[name].split()]
        if failed := _installed(folder / "bin" / "python", steps):
            print(f"{name} is left out: {failed}")
            continue
        arms.append(_peer(name, folder))
    return arms


def _installed(python: Path, steps: Sequence[Sequence[str]]) -> str:
    """Installs into an environment; the last line of what went wrong, "" = nothing."""
    for step in steps:
        pip = [str(python), "-m", "pip", "install", "--quiet", *step]
        done = subprocess.run(pip, capture_output=True, text=True)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    return ""


def _peer(name: str, folder: Path) -> Arm:
    port, binary = str(PORTS[name]), str(folder / "bin" / name)
    endpoint = f"http://127.0.0.1:{UPSTREAM}/v1"
    if name == "optillm":
        command = [binary, "--base-url", endpoint, "--approach", "none", "--port", port, "--host", "127.0.0.1"]
        return Arm(name, command, {"OPENAI_API_KEY": "sk-bench"})
    config = folder / "litellm.yaml"
    row = {"model_name": "m", "litellm_params": {"model": "openai/m", "api_base": endpoint, "api_key": "sk-bench"}}
    config.write_text(json.dumps({"model_list": [row], "litellm_settings": {"telemetry": False}}))
    command = [binary, "--config", str(config), "--port", port, "--host", "127.0.0.1", "--num_workers", "1"]
    key = "sk-" + secrets.token_hex(24)  # it refuses to start without one
    quiet = {"LITELLM_MASTER_KEY": key, "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    return Arm(name, command, quiet, key)


# --- the measurement --------------------------------------------------------------------------------------------------


def measure(arms: Sequence[Arm], rounds: int, seconds: float) -> None:
    """Fills the arms, rounds interleaved; the first round of each warms up and is not counted."""
    for number in range(rounds + 1):
        for arm in arms:
            many, cpu = _round(arm, CONNECTIONS, seconds if number else 1.0)
            one, _ = _round(arm, 1, max(1.0, seconds / 2) if number else 0.5)
            if number:
                arm.rates.append(many.requests / seconds)
                arm.cpu.append(cpu / max(1, many.requests) * 1e6)
                arm.medians.append(statistics.median(one.latencies) * 1e3)


def _round(arm: Arm, connections: int, seconds: float) -> tuple[Load, float]:
    before = cpu_seconds(arm.pid)
    load = asyncio.run(drive(PORTS[arm.name], connections, seconds, arm.key))
    if load.failures:
        raise SystemExit(f"{arm.name}: {load.failures} of {load.requests} requests failed")
    return load, cpu_seconds(arm.pid) - before


def table(arms: Sequence[Arm]) -> dict[str, Any]:
    """Prints the figures; returns them."""
    by_name = {arm.name: arm for arm in arms}
    limit = by_name["minimal"]
    rows: dict[str, Any] = {}
    print(f"{'proxy':10} {'req/s':>8} {'spread':>15} {'median ms':>10} {'CPU µs/req':>11} {'of minimal':>11}")
    for arm in arms:
        ratios = [mine / least for mine, least in zip(arm.rates, limit.rates, strict=True)]
        rows[arm.name] = {
            "requests_per_second": round(statistics.median(arm.rates), 1),
            "spread": [round(min(arm.rates), 1), round(max(arm.rates), 1)],
            "median_ms": round(statistics.median(arm.medians), 3),
            "cpu_us": round(statistics.median(arm.cpu), 1),
            "of_minimal": [round(each, 3) for each in (statistics.median(ratios), min(ratios), max(ratios))],
        }
        row = rows[arm.name]
        spread = f"{row['spread'][0]:.0f}–{row['spread'][1]:.0f}"
        print(
            f"{arm.name:10} {row['requests_per_second']:8.0f} {spread:>15} {row['median_ms']:10.2f} "
            f"{row['cpu_us']:11.0f} {row['of_minimal'][0]:6.0%} ({row['of_minimal'][1]:.0%}–{row['of_minimal'][2]:.0%})"
        )
    for peer in (arm for arm in arms if arm.name in PEERS):
        times = [mine / theirs for mine, theirs in zip(by_name["ours"].rates, peer.rates, strict=True)]
        rows[peer.name]["ours_is_faster"] = round(statistics.median(times), 1)
        print(f"ours / {peer.name}: {statistics.median(times):.0f} x ({min(times):.0f}–{max(times):.0f})")
    return rows


def main() -> None:
    """Runs the benchmark, or one of its processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--role", choices=["upstream", "minimal"])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--peer", action="append", choices=list(PEERS))
    parser.add_argument("--one-core", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    roles: dict[str, Callable[[], None]] = {"upstream": _serve_upstream, "minimal": _serve_minimal}
    if given.role:
        roles[given.role]()
        return
    _compare(given)


def _serve_upstream() -> None:
    import uvloop

    uvloop.run(upstream())


def _serve_minimal() -> None:
    import uvicorn

    uvicorn.run(minimal(), host="127.0.0.1", port=PORTS["minimal"], log_level="warning", access_log=False)


def _compare(given: argparse.Namespace) -> None:
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    rest = 1 if given.one_core else 0
    os.sched_setaffinity(0, {rest})
    me = [sys.executable, str(Path(__file__).resolve())]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        arms = [ours(folder, ledger=True), Arm("minimal", [*me, "--role", "minimal"])]
        arms += peers(given.peers.resolve(), given.peer or list(PEERS)) if given.peers else []
        source = stack.enter_context(process([*me, "--role", "upstream"], rest))
        assert wait_for(UPSTREAM, source), "the upstream did not start"
        for arm in list(arms):
            child = stack.enter_context(process(arm.command, 1, arm.environ))
            arm.pid = child.pid
            if not wait_for(PORTS[arm.name], child):
                print(f"{arm.name} is left out: it did not start")
                arms.remove(arm)
        measure(arms, given.rounds, given.seconds)
        _check_books(next(arm for arm in arms if arm.name == "ours"))
        rows = table(arms)
    line = {"bench": "proxy_passthrough", "connections": CONNECTIONS, "one_core": given.one_core, "arms": rows}
    print(json.dumps(line))
    if given.json:
        given.json.write_text(json.dumps(line, indent=2) + "\n")


def _check_books(arm: Arm) -> None:
    """Metrics must have counted the requests: nothing was switched off to be fast."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORTS['ours']}/metrics", headers={"Authorization": f"Bearer {arm.key}"}
    )
    text = urllib.request.urlopen(request, timeout=10).read().decode()
    counted = [
        line for line in text.splitlines() if line.startswith("archon_requests_total") and 'status="200"' in line
    ]
    assert counted, "the proxy counted no request"


if __name__ == "__main__":
    main()
