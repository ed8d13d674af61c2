"""What holds under load: every request is answered or truly refused, the books agree, the memory stays.

    python bench/proxy_soak.py [-n 10000] [--connections 256] [--core 1] [--json FILE]
    python bench/proxy_soak.py --minutes 10 [--rate 40]

A real `archon serve` (key with budgets, ledger in SQLite, metrics, traces) over an upstream in a process of its own, of
whose calls 20 % fail or are slow (bench/proxy_staged.py: `FAULTS`). Of ten requests five pass a plain model through
whole and three streamed, and two run an architecture of three calls; every fiftieth client leaves its stream at the
first token. With `--minutes` requests start at a constant rate in place of as fast as the connections allow.

Checked, and told where it fails:

- Every request gets its own answer, or an error in OpenAI's envelope whose status is what the upstream did to it.
- The ledger's total is the upstream's own count of whole answers plus the flagged worst cases, to the micro-dollar;
  nothing is left held; every call whose bill nobody told is flagged, and no other.
- Resident memory at the end against after a tenth of the requests (or of the time).

Exit code 1 where a check of the first two kinds fails. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.proxy_processes import process, wait_for
from bench.proxy_staged import PRICE, Book, Connection, Reply, Stage, answer, counted, serve

UPSTREAM, PORT = 18120, 18121
TIMEOUT, RETRIES = 5.0, 2
"""Seconds for one call; further attempts of an architecture's calls."""
DRAFTS = 2
STATUSES = {"500": 500, "503": 503, "429": 429, "cut": 502, "silent": 504}
"""What a plain model's client must be told of what the upstream did."""
NODES = [
    {"id": "drafts", "layer": "generator", "model": "m", "params": {"samples": DRAFTS}},
    {"id": "fused", "layer": "fuser", "model": "m", "inputs": ["drafts"]},
]


def kind(ticket: int) -> str:
    """What the request of this ticket is: whole, stream, leave or graph."""
    if ticket % 50 == 7:
        return "leave"
    return "whole" if ticket % 10 < 5 else "stream" if ticket % 10 < 8 else "graph"


@dataclass
class Seen:
    """What the clients saw."""

    replies: dict[int, Reply] = field(default_factory=dict)
    broken: Counter[str] = field(default_factory=Counter)
    """Connections that broke, which they never should."""
    memory: list[tuple[float, int]] = field(default_factory=list)
    """Share of the work done, resident bytes."""
    seconds: float = 0.0


async def drive(total: int, connections: int, rate: float | None, key: str, pid: int) -> Seen:
    """So many requests over so many connections; at a constant rate where one is given."""
    seen, tickets, began = Seen(), iter(range(total)), time.monotonic()

    async def client() -> None:
        connection = Connection(PORT, key)
        for ticket in tickets:
            if rate is not None:
                await asyncio.sleep(max(0.0, began + ticket / rate - time.monotonic()))
            await _asked(ticket, connection, seen)
            if len(seen.replies) % max(1, total // 100) == 0:
                seen.memory.append((len(seen.replies) / total, resident(pid)))
        connection.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    seen.memory.append((1.0, resident(pid)))
    seen.seconds = time.monotonic() - began
    return seen


async def _asked(ticket: int, connection: Connection, seen: Seen) -> None:
    what = kind(ticket)
    model = "archon/soak" if what == "graph" else "m"
    try:
        async with asyncio.timeout(120):
            seen.replies[ticket] = await connection.ask(
                ticket, model, stream=what in ("stream", "leave"), leave=what == "leave"
            )
    except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
        seen.broken[f"{what}: {type(error).__name__}"] += 1
        seen.replies[ticket] = Reply(0, b"")
        connection.close()


def resident(pid: int) -> int:
    """Bytes of a process in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# --- whether the answers are true -------------------------------------------------------------------------------------


def wrongs(seen: Seen, book: Book) -> Iterator[str]:
    """What is wrong with the answers."""
    yield from (f"{count} × connection broke: {what}" for what, count in seen.broken.items())
    for ticket, reply in seen.replies.items():
        wrong = _wrong(ticket, reply, book.faults.get(ticket, []))
        if wrong and reply.status:
            yield f"ticket {ticket} ({kind(ticket)}): {wrong}"


def _wrong(ticket: int, reply: Reply, faults: list[str]) -> str | None:
    """What is wrong with one answer; None = nothing."""
    what, failed = kind(ticket), [fault for fault in faults if fault != "slow"]
    if what == "leave" and reply.first:
        return None
    if reply.status == 200:
        return _untrue(ticket, reply, failed)
    envelope = json.loads(reply.body).get("error") if reply.body else None
    if not isinstance(envelope, dict) or not {"message", "type", "param", "code"} <= envelope.keys():
        return f"{reply.status} without an envelope: {reply.body[:200]!r}"
    if not failed:
        return f"{reply.status} though nothing failed: {envelope['message'][:200]}"
    wanted = {STATUSES[fault] for fault in failed} | ({502} if what == "graph" else set())
    return None if reply.status in wanted else f"{reply.status} for {failed}: {envelope['message'][:200]}"


def _untrue(ticket: int, reply: Reply, failed: list[str]) -> str | None:
    if kind(ticket) in ("whole", "graph"):
        text = json.loads(reply.body)["choices"][0]["message"]["content"]
        return None if text == answer(ticket) else f"another's answer: {text[:100]!r}"
    events = [json.loads(each[6:]) for each in reply.body.split(b"\n\n") if each.startswith(b"data: {")]
    text = "".join(c["delta"].get("content", "") for event in events for c in event.get("choices", ()))
    told = any("error" in event for event in events)
    if told:
        return None if "cut" in failed else f"an error though nothing failed: {reply.body[-200:]!r}"
    whole = text == answer(ticket) and b"data: [DONE]" in reply.body
    return None if whole else f"half an answer without an error: {reply.body[-200:]!r}"


# --- whether the books agree ------------------------------------------------------------------------------------------


@dataclass
class Ledger:
    """What the proxy wrote down."""

    spent: int = 0
    held: int = 0
    flagged: dict[int, list[int]] = field(default_factory=dict)
    """Micro-dollars of the worst cases, by ticket."""
    left_open: int = 0


def written(store: Path) -> Ledger:
    """The ledger in the file."""
    db = sqlite3.connect(store)
    found = Ledger(*db.execute("SELECT sum(spent_micro_usd), sum(held_micro_usd) FROM totals").fetchone())
    for request_id, state, micro_usd in db.execute("SELECT request_id, state, micro_usd FROM entries"):
        found.left_open += state == "open"
        found.flagged.setdefault(int(request_id.removeprefix("ticket-")), []).append(micro_usd)
    db.close()
    return found


def differences(ledger: Ledger, book: Book) -> Iterator[str]:
    """Where the proxy's book and the upstream's differ."""
    if ledger.held or ledger.left_open:
        yield f"{ledger.held} micro-dollars are still held, {ledger.left_open} entries open"
    # A client may have left while its answer was on the way: the upstream then counts what is flagged here.
    delivered = sum(
        bill for ticket, bill in book.delivered.items() if not (kind(ticket) == "leave" and ticket in ledger.flagged)
    )
    flagged = sum(sum(each) for each in ledger.flagged.values())
    if ledger.spent != delivered + flagged:
        yield f"the ledger has {ledger.spent}, the upstream {delivered} and {flagged} flagged"
    lost = {ticket: calls for ticket, calls in book.lost.items() if kind(ticket) != "leave"}
    told = {ticket: len(each) for ticket, each in ledger.flagged.items() if kind(ticket) != "leave"}
    for ticket in sorted(lost.keys() | told.keys()):
        if lost.get(ticket, 0) != told.get(ticket, 0):
            yield (
                f"ticket {ticket} ({kind(ticket)}): {lost.get(ticket, 0)} calls were lost, "
                f"{told.get(ticket, 0)} are flagged; {book.faults.get(ticket)}"
            )


# --- the run ----------------------------------------------------------------------------------------------------------


def soaked(given: argparse.Namespace) -> tuple[Seen, Book, Ledger]:
    """One soak against a fresh proxy."""
    from archon.proxy.keys import open_store

    total = round(given.minutes * 60 * given.rate) if given.minutes else given.n
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        system, store = Path(name) / "soak.yaml", Path(name) / "proxy.db"
        row = {"id": "m", "endpoint": f"http://127.0.0.1:{UPSTREAM}/v1", "price": PRICE, "timeout": TIMEOUT}
        architecture = {"name": "soak", "nodes": NODES, "output": "fused"}
        system.write_text(json.dumps({"architecture": architecture, "models": [{**row, "retries": RETRIES}]}))
        key, _ = open_store(str(store)).create("soak", usd_per_day=10**12, tokens_per_day=10**12)
        staged = [sys.executable, "-m", "bench.proxy_soak", "--role", "upstream"]
        assert wait_for(UPSTREAM, stack.enter_context(process(staged, given.core))), "the upstream did not start"
        archon = [str(Path(sys.executable).with_name("archon")), "serve", str(system), "--store", str(store)]
        with process([*archon, "--port", str(PORT), "--log-level", "warning"], given.core) as child:
            assert wait_for(PORT, child), "the proxy did not start"
            seen = asyncio.run(drive(total, given.connections, given.rate if given.minutes else None, key, child.pid))
        book = counted(UPSTREAM)  # after the proxy's end: what it was still doing is done
        return seen, book, written(store)


def memory(seen: Seen) -> tuple[float, float]:
    """Mebibytes after a tenth of the work, and at the end."""
    tenth = next(size for share, size in sorted(seen.memory) if share >= 0.1)
    return tenth / 2**20, seen.memory[-1][1] / 2**20


def report(given: argparse.Namespace, seen: Seen, book: Book, ledger: Ledger) -> dict[str, Any]:
    """Prints what was seen; returns it."""
    wrong, differ = list(wrongs(seen, book)), list(differences(ledger, book))
    tenth, end = memory(seen)
    statuses = Counter(reply.status for reply in seen.replies.values())
    faults = Counter(fault for each in book.faults.values() for fault in each)
    flagged = sum(len(each) for each in ledger.flagged.values())
    print(f"{len(seen.replies)} requests over {given.connections} connections in {seen.seconds:.1f} s; load", end=" ")
    print(f"{os.getloadavg()[0]:.1f}; statuses {dict(sorted(statuses.items()))}")
    print(f"upstream: {book.calls} calls, of which {dict(faults)}")
    print(f"ledger: {ledger.spent} micro-dollars, {flagged} calls of them flagged; {len(differ)} differences")
    series = [round(size / 2**20) for share, size in sorted(seen.memory)[:: max(1, len(seen.memory) // 10)]]
    print(f"answers: {len(wrong)} wrong; memory: {tenth:.1f} MiB after a tenth, {end:.1f} at the end; {series}")
    for line in [*wrong[:10], *differ[:10]]:
        print(f"  {line}")
    return {
        "requests": len(seen.replies), "connections": given.connections, "seconds": round(seen.seconds, 1),
        "statuses": statuses, "upstream_calls": book.calls, "faults": faults, "wrong": len(wrong),
        "ledger_differences": len(differ), "flagged": flagged, "memory_mib": [round(tenth, 1), round(end, 1)],
    }  # fmt: skip


def main() -> None:
    """Runs the soak, or its upstream."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--role", choices=["upstream"])
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--rate", type=float, default=40.0)
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.role:
        serve(UPSTREAM, Stage(latency=0.2, first=0.02, faulty=True))
        return
    os.sched_setaffinity(0, {given.core})
    line = {"bench": "proxy_soak", **report(given, *soaked(given))}
    print(json.dumps(line))
    if given.json:
        given.json.write_text(json.dumps(line, indent=2) + "\n")
    sys.exit(bool(line["wrong"] or line["ledger_differences"]))


if __name__ == "__main__":
    main()
