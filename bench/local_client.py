"""Throughput of the `local` client by batch size, and whether draws depend on the batch.

    python bench/local_client.py [--model zoo:NAME|FOLDER] [--widths 1,16,64,128] [--dtypes float32,float64]
        [--threads 1,2] [--rounds 3] [--calls 96] [--draws 5] [--exceptions 100000] [--json FILE]
    python bench/local_client.py --speculation [--model zoo:captain] [--draft FOLDER] [--head FOLDER] [--heats 0,1]

*Throughput*: `--calls` calls, each with a prompt of its own, are kept under way `width` at a time; generated tokens per
second of wall time and per second of the process's CPU time. Widths are interleaved in every round, so that a slow
minute of the machine hits all alike, and the ratio to one at a time is taken round by round; medians are shown. CPU
time is what other processes disturb least, but with several threads a waiting one counts as busy: look at wall time.
The row "draws" has `--draws` draws a prompt at the greatest width: they share the prompt's forward.

*Exceptions*: answers of at least `--exceptions` tokens are drawn at temperature 1 twice, one at a time and 64 at a time
in another order; an exception is a token at which the two differ (the first in its answer). 0 turns this off.

*Speculation* (`--speculation`, instead of the others): the same calls with drafts and without, interleaved, at some
numbers of calls at a time: tokens per second, and the median time of an answer. `--draft` and `--head` accelerate a
model that the zoo does not. Answers that differ are counted: there must be none.

Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from archon import zoo
from archon.clients.local import LocalClient
from archon.models import ModelSpec
from archon.types import Completion, Request, Sampling, derived_seed, user
from archon.zoo.ledger import draw_problem

TARGET = 4.0
"""Tokens per second at 16 concurrent calls over those of one at a time, at least."""
COMPANY = 64


class Rate(NamedTuple):
    """Tokens per second of wall time and of CPU time."""

    wall: float
    cpu: float


def requests(count: int, draws: int, salt: str, heat: float = 1.0) -> list[Request]:
    """Word problems in random order, `draws` draws each."""
    rng = random.Random(f"bench:{salt}")
    problems = [user(draw_problem(rng).question) for _ in range(-(-count // draws))]
    sampling = Sampling(temperature=heat, max_tokens=120)
    pairs = [(message, sample) for message in problems for sample in range(draws)][:count]
    return [Request((m,), sampling, sample=s, seed=derived_seed(salt, m.text, s)) for m, s in pairs]


async def drawn(client: LocalClient, wanted: Sequence[Request], width: int) -> list[Completion]:
    """The answers, `width` calls under way at a time."""
    gate = asyncio.Semaphore(width)

    async def one(request: Request) -> Completion:
        async with gate:
            return await client.complete(request)

    return list(await asyncio.gather(*map(one, wanted)))


async def rate(client: LocalClient, wanted: Sequence[Request], width: int) -> Rate:
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = sum(answer.usage.completion_tokens for answer in await drawn(client, wanted, width))
    return Rate(tokens / (time.perf_counter() - wall), tokens / (time.process_time() - cpu))


def opened(model: str, **options: Any) -> LocalClient:
    return LocalClient.from_spec(ModelSpec(id="bench", client="local", name=model, options=options))


async def throughput(options: argparse.Namespace, dtype: str, threads: int) -> list[dict[str, Any]]:
    """One row a width, and one for many draws of a prompt."""
    arms = [(str(width), width, 1) for width in options.widths] + [("draws", max(options.widths), options.draws)]
    rates: dict[str, list[Rate]] = {name: [] for name, _, _ in arms}
    client = opened(options.model, dtype=dtype, threads=threads, slots=max(options.widths))
    await drawn(client, requests(20, 1, "warm"), 8)
    for turn in range(options.rounds):
        for name, width, draws in arms:
            count = max(options.calls if width > 1 else options.calls // 6, width)
            rates[name].append(await rate(client, requests(count, draws, f"{turn}"), width))
    await client.aclose()
    return [_row(dtype, threads, name, rates[name], rates[arms[0][0]]) for name, _, _ in arms]


def _row(dtype: str, threads: int, name: str, found: list[Rate], base: list[Rate]) -> dict[str, Any]:
    row: dict[str, Any] = {"dtype": dtype, "threads": threads, "at_a_time": name}
    for kind in Rate._fields:
        row[f"{kind}_tokens_per_s"] = round(statistics.median(getattr(rate, kind) for rate in found))
        pairs = zip(found, base, strict=True)
        row[f"{kind}_ratio"] = round(statistics.median(getattr(a, kind) / getattr(b, kind) for a, b in pairs), 2)
    return row


async def exceptions(options: argparse.Namespace, dtype: str) -> dict[str, Any]:
    """Draws the same answers alone and in company, and counts the tokens at which they part."""
    alone, company = (opened(options.model, dtype=dtype, slots=slots) for slots in (1, COMPANY))
    tokens = answers = parted = turn = 0
    while tokens < options.exceptions:
        wanted = requests(500, 3, f"exceptions {turn}")
        shuffled = random.Random(turn).sample(wanted, len(wanted))
        company_of = dict(zip(map(id, shuffled), await drawn(company, shuffled, len(shuffled)), strict=True))
        for request, single in zip(wanted, await drawn(alone, wanted, len(wanted)), strict=True):
            tokens += single.usage.completion_tokens
            parted += single.text != company_of[id(request)].text
        answers += len(wanted)
        turn += 1
    await alone.aclose()
    await company.aclose()
    return {"dtype": dtype, "tokens": tokens, "answers": answers, "exceptions": parted}


async def speculation(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a temperature and width."""
    known = {name: value for name, value in (("draft", options.draft), ("head", options.head)) if value}
    switches = {"off": {"speculation": "off"}, "on": known}
    rows = []
    for heat in options.heats:
        clients = {name: opened(options.model, **given) for name, given in switches.items()}
        for client in clients.values():
            await drawn(client, requests(20, 1, "warm", heat), 2)
        rows += [await _compared(options, clients, heat, width) for width in options.widths]
        for client in clients.values():
            await client.aclose()
    return rows


async def _compared(
    options: argparse.Namespace, clients: dict[str, LocalClient], heat: float, width: int
) -> dict[str, Any]:
    rates: dict[str, list[Rate]] = {name: [] for name in clients}
    seconds: dict[str, list[float]] = {name: [] for name in clients}
    differing = drafted = accepted = 0
    for client in clients.values():  # it learns here what pays at this width
        await drawn(client, requests(max(options.calls // 2, width), 1, f"warm {width}", heat), width)
    for turn in range(options.rounds):
        wanted = requests(max(options.calls if width > 4 else options.calls // 4, width), 1, f"{turn} {width}", heat)
        found = {}
        for name in sorted(clients, reverse=turn % 2 == 1):
            wall, cpu = time.perf_counter(), time.process_time()
            found[name] = await drawn(clients[name], wanted, width)
            tokens = sum(answer.usage.completion_tokens for answer in found[name])
            rates[name].append(Rate(tokens / (time.perf_counter() - wall), tokens / (time.process_time() - cpu)))
            seconds[name] += [answer.usage.seconds for answer in found[name]]
        differing += sum(a.text != b.text for a, b in zip(*found.values(), strict=True))
        drafted += sum(answer.usage.drafted_tokens for answer in found["on"])
        accepted += sum(answer.usage.accepted_tokens for answer in found["on"])
    row: dict[str, Any] = {
        "temperature": heat,
        "at_a_time": width,
        "differing": differing,
        "drafted": drafted,
        "accepted": accepted,
    }
    for name in ("off", "on"):
        row[f"{name}_ms_an_answer"] = round(1e3 * statistics.median(seconds[name]), 1)
        row[f"{name}_tokens_per_s"] = round(statistics.median(rate.wall for rate in rates[name]))
    for kind in Rate._fields:
        pairs = zip(rates["on"], rates["off"], strict=True)
        row[f"{kind}_ratio"] = round(statistics.median(getattr(a, kind) / getattr(b, kind) for a, b in pairs), 2)
    return row


def speculation_table(rows: Sequence[dict[str, Any]]) -> str:
    names = (
        "temperature", "at_a_time", "off_tokens_per_s", "on_tokens_per_s", "wall_ratio", "cpu_ratio",
        "off_ms_an_answer", "on_ms_an_answer", "drafted", "accepted", "differing",
    )  # fmt: skip
    lines = ["  ".join(names)]
    lines += ["  ".join(f"{row[name]:>{len(name)}}" for name in names) for row in rows]
    return "\n".join(lines)


def table(rows: Sequence[dict[str, Any]], drifts: Sequence[dict[str, Any]]) -> str:
    lines = [f"{'dtype':9}{'threads':>8}{'at a time':>11}{'tokens/s':>11}{'×':>7}{'tokens/CPU s':>14}{'×':>7}"]
    lines += [
        f"{row['dtype']:9}{row['threads']:>8}{row['at_a_time']:>11}{row['wall_tokens_per_s']:>11}{row['wall_ratio']:>7}"
        f"{row['cpu_tokens_per_s']:>14}{row['cpu_ratio']:>7}"
        for row in rows
    ]
    lines += [
        f"{drift['dtype']}: {drift['exceptions']} of {drift['answers']} answers ({drift['tokens']} tokens) differ "
        "between one at a time and a mixed batch"
        for drift in drifts
    ]
    return "\n".join(lines)


async def measured(options: argparse.Namespace) -> dict[str, Any]:
    if options.speculation:
        found = await speculation(options)
        print(speculation_table(found))
        return {"bench": "local_client", "model": options.model, "speculation": found}
    rows = [
        row
        for dtype in options.dtypes
        for threads in options.threads
        for row in await throughput(options, dtype, threads)
    ]
    drifts = [await exceptions(options, dtype) for dtype in options.dtypes] if options.exceptions else []
    print(table(rows, drifts))
    at_16 = [row["cpu_ratio"] for row in rows if row["at_a_time"] == "16" and row["threads"] == 1]
    return {
        "bench": "local_client",
        "model": options.model,
        "rows": rows,
        "exceptions": drifts,
        "target_ratio_at_16": TARGET,
        "meets_target": min(at_16) >= TARGET if at_16 else None,
    }


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="zoo:NAME or a model folder (default: the first of the zoo)")
    parser.add_argument("--widths", type=_numbers, default=[1, 16, 64, 128], help="the first is the base of the ratios")
    parser.add_argument("--dtypes", type=lambda text: text.split(","), default=["float32", "float64"])
    parser.add_argument("--threads", type=_numbers, default=[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=96, help="calls in each measurement; a sixth for one at a time")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--exceptions", type=int, default=100_000, help="tokens to compare; 0 = none")
    parser.add_argument("--speculation", action="store_true", help="measure drafts on and off instead")
    parser.add_argument("--draft", help="folder, or zoo/NAME, of a draft (default: what the zoo says)")
    parser.add_argument("--head", help="folder of its acceptance head")
    parser.add_argument("--heats", type=lambda text: [float(part) for part in text.split(",")], default=[0.0, 1.0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.model = options.model or next((f"zoo:{name}" for name in zoo.names()), None)
    if options.model is None:
        parser.error("the zoo is empty; give --model FOLDER")
    line = json.dumps(asyncio.run(measured(options)))
    print(line)
    if options.json:
        options.json.write_text(line + "\n")


if __name__ == "__main__":
    main()
