"""CPU time per call of the `openai` client beside bare httpx, the openai SDK and litellm.

    python bench/openai_client.py [--calls 400] [--rounds 7] [--concurrency 8] [--peers-python PATH] [--json FILE]

Every client runs in a process of its own and calls one upstream in another process; what is compared is the client
process's own CPU time (user + system) per call, warm. Rounds are interleaved, so that a slow minute of the machine hits
all alike; the ratio to ours is taken round by round, and its spread is printed. A peer that is not installed is left
out with a line that says so. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ARMS = ("archon", "archon-stack", "httpx", "openai", "litellm")
QUESTION = "Janet's ducks lay 16 eggs a day. She eats three and bakes with four. What do the rest earn at $2 each? " * 3
ANSWER = "She sells 16 - 3 - 4 = 9 eggs a day, which earns 9 * 2 = 18 dollars. " * 12
MESSAGES = [{"role": "system", "content": "Answer the question."}, {"role": "user", "content": QUESTION}]
TARGET_MS = 0.8

Call = Callable[[int], Awaitable[str]]


# --- the upstream: as little HTTP as possible, in a process of its own
# --------------------------------------------------


class _Upstream(asyncio.Protocol):
    def __init__(self) -> None:
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._seen += data
        while (end := self._seen.find(b"\r\n\r\n")) >= 0:
            head = self._seen[:end].lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            if len(self._seen) < end + 4 + length:
                return
            self._seen = self._seen[end + 4 + length :]
            self._transport.write(_ANSWER_BYTES)


def _answer() -> bytes:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": ANSWER},
        "finish_reason": "stop",
        "logprobs": None,
    }
    usage = {"prompt_tokens": 90, "completion_tokens": 260, "total_tokens": 350}
    frame = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "bench"}
    body = json.dumps({**frame, "choices": [choice], "usage": usage}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


_ANSWER_BYTES = _answer()


async def serve() -> None:
    """Prints the port, then answers for ever."""
    server = await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# --- the clients
# ---------------------------------------------------------------------------------------------------------


def archon_call(endpoint: str) -> Call:
    """Our transport alone."""
    from archon.clients.openai import OpenAIClient
    from archon.models import ModelSpec
    from archon.types import Message, Request

    client = OpenAIClient(ModelSpec(id="bench", endpoint=endpoint, key_env="BENCH_KEY"))
    messages = tuple(Message.from_dict(message) for message in MESSAGES)

    async def call(sample: int) -> str:
        return (await client.complete(Request(messages, sample=sample))).text

    return call


def archon_stack_call(endpoint: str) -> Call:
    """Our transport in its stack: guard, defaults, retry, limit, budget, timeout (no cache: nothing here would miss
    it)."""
    from archon.budget import Budget
    from archon.clients.stack import ClientStack
    from archon.models import Limits, ModelSpec, ModelTable, PriceSpec
    from archon.types import Message, Request

    price, limits = PriceSpec(prompt=1, completion=1), Limits(in_flight=64)
    spec = ModelSpec(id="bench", endpoint=endpoint, key_env="BENCH_KEY", price=price, limits=limits)
    client = ClientStack(ModelTable([spec])).open("bench", Budget(usd=1e6))
    messages = tuple(Message.from_dict(message) for message in MESSAGES)

    async def call(sample: int) -> str:
        return (await client.complete(Request(messages, sample=sample))).text

    return call


def httpx_call(endpoint: str) -> Call:
    """Bare httpx: one pooled client, JSON in and out."""
    import httpx

    client = httpx.AsyncClient(headers={"Authorization": f"Bearer {os.environ['BENCH_KEY']}"}, timeout=60)
    body = {"model": "bench", "messages": MESSAGES}

    async def call(sample: int) -> str:
        response = await client.post(f"{endpoint}/chat/completions", json=body)
        return str(response.json()["choices"][0]["message"]["content"])

    return call


def openai_call(endpoint: str) -> Call:
    """The openai SDK."""
    from openai import AsyncOpenAI  # type: ignore[import-not-found,unused-ignore]

    client = AsyncOpenAI(api_key=os.environ["BENCH_KEY"], base_url=endpoint, max_retries=0)

    async def call(sample: int) -> str:
        answer = await client.chat.completions.create(model="bench", messages=MESSAGES)
        return str(answer.choices[0].message.content)

    return call


def litellm_call(endpoint: str) -> Call:
    """litellm's own client for OpenAI-compatible endpoints."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    key = os.environ["BENCH_KEY"]

    async def call(sample: int) -> str:
        answer = await litellm.acompletion(
            model="openai/bench", messages=MESSAGES, api_base=endpoint, api_key=key, num_retries=0
        )
        return str(answer.choices[0].message.content)

    return call


BUILDERS: dict[str, Callable[[str], Call]] = {
    "archon": archon_call,
    "archon-stack": archon_stack_call,
    "httpx": httpx_call,
    "openai": openai_call,
    "litellm": litellm_call,
}


async def work(arm: str, endpoint: str, calls: int, concurrency: int) -> None:
    """One client's process: says whether it could be built, then runs a round for every line on its input."""
    try:
        call = BUILDERS[arm](endpoint)
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), flush=True)
        return
    await _round(call, max(50, calls // 4), concurrency)
    print(json.dumps({"ready": True}), flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await _round(call, calls, concurrency)), flush=True)


async def _round(call: Call, calls: int, concurrency: int) -> dict[str, float]:
    waiting = iter(range(calls))

    async def caller() -> None:
        for sample in waiting:
            text = await call(sample)
            assert text == ANSWER

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(concurrency)))
    return {
        "cpu_ms": (time.process_time() - cpu) / calls * 1e3,
        "wall_ms": (time.perf_counter() - wall) / calls * 1e3,
    }


# --- the comparison
# ------------------------------------------------------------------------------------------------------


def start(python: str, *arguments: str) -> subprocess.Popen[str]:
    """This script again, in another role."""
    root = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "BENCH_KEY": "not-a-secret", "PYTHONWARNINGS": "ignore"}
    command = [python, __file__, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def told(worker: subprocess.Popen[str]) -> dict[str, Any]:
    """The worker's next line of JSON; lines of other kinds (a library that prints) are passed over."""
    assert worker.stdout is not None
    for line in worker.stdout:
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return found
    return {"missing": "the process ended"}


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Runs all rounds; CPU milliseconds per call by client, in round order."""
    upstream = start(sys.executable, "--serve")
    assert upstream.stdout is not None
    endpoint = f"http://127.0.0.1:{int(upstream.stdout.readline())}/v1"
    workers: dict[str, subprocess.Popen[str]] = {}
    rounds: dict[str, list[dict[str, float]]] = {}
    try:
        for arm in ARMS:
            python = sys.executable if arm.startswith("archon") else options.peers_python
            role = ("--work", arm, "--endpoint", endpoint)
            sizes = ("--calls", str(options.calls), "--concurrency", str(options.concurrency))
            worker = start(python, *role, *sizes)
            said = told(worker)
            if "missing" in said:
                print(f"{arm}: left out ({said['missing']})")
                worker.wait()
                continue
            workers[arm], rounds[arm] = worker, []
        for number in range(options.rounds):
            for arm in list(workers)[:: 1 if number % 2 else -1]:
                stdin = workers[arm].stdin
                assert stdin is not None
                stdin.write("go\n")
                stdin.flush()
                rounds[arm].append(told(workers[arm]))
    finally:
        for process in (*workers.values(), upstream):
            process.kill()
            process.wait()
    return summary(rounds)


def summary(rounds: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Median CPU time and the ratio to ours, median and range over rounds."""
    ours = [each["cpu_ms"] for each in rounds["archon"]]
    result: dict[str, Any] = {"target_ms": TARGET_MS, "clients": {}}
    for arm, each in rounds.items():
        cpu = [one["cpu_ms"] for one in each]
        ratios = [theirs / own for theirs, own in zip(cpu, ours, strict=True)]
        result["clients"][arm] = {
            "cpu_ms": round(statistics.median(cpu), 3),
            "cpu_ms_range": [round(min(cpu), 3), round(max(cpu), 3)],
            "wall_ms": round(statistics.median(one["wall_ms"] for one in each), 3),
            "ratio": round(statistics.median(ratios), 2),
            "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
        }
    result["meets_target"] = result["clients"]["archon"]["cpu_ms"] <= TARGET_MS
    return result


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [f"{'client':<14}{'CPU ms/call':>12}{'range':>18}{'wall ms':>10}{'× ours':>9}{'range':>16}"]
    for arm, row in result["clients"].items():
        spread = "{:.3f}–{:.3f}".format(*row["cpu_ms_range"])
        ratios = "{:.2f}–{:.2f}".format(*row["ratio_range"])
        lines.append(
            f"{arm:<14}{row['cpu_ms']:>12.3f}{spread:>18}{row['wall_ms']:>10.3f}{row['ratio']:>9.2f}{ratios:>16}"
        )
    return "\n".join(lines)


def main() -> None:
    """Reads the arguments and plays the part they name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=400, help="calls a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--concurrency", type=int, default=8, help="calls under way at once")
    parser.add_argument("--peers-python", default=sys.executable, help="interpreter that has httpx, openai, litellm")
    parser.add_argument("--json", type=Path, help="also write the JSON line to this file")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--endpoint", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
    elif options.work:
        asyncio.run(work(options.work, options.endpoint, options.calls, options.concurrency))
    else:
        result = compare(options)
        line = json.dumps(result)
        print(f"{table(result)}\n{line}")
        if options.json:
            options.json.write_text(line + "\n")


if __name__ == "__main__":
    main()
