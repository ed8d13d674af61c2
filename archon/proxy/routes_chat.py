"""POST /v1/chat/completions: a plain model is passed through, an architecture is run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from archon.executor import Result
from archon.proxy import feasible, passthrough
from archon.proxy.ask import from_chat, refusals
from archon.proxy.fields import CHAT
from archon.proxy.http import Call, Present
from archon.proxy.render import Chunks, completion
from archon.proxy.runs import Job, perform, prepare, report
from archon.proxy.schema import ChatBody, read
from archon.proxy.streaming import Events, stream
from archon.trace import NodeRecord
from archon.types import Chunk

_REFUSED = refusals(CHAT)


async def chat(call: Call) -> None:
    """One chat completion."""
    raw = call.json()
    if "archon" in raw and raw["archon"] is None:  # as good as nothing, and no upstream knows it
        del raw["archon"]
        call.body = json.dumps(raw).encode()
    served = call.catalogue[raw.get("model")]
    call.named(served.id)
    if served.transport is not None and "archon" not in raw:
        await passthrough.forward(call, served, raw)
        return
    ask = from_chat(read(ChatBody, raw, _REFUSED))
    feasible.check(ask, served, call.catalogue.stack, call.services.settings)
    job = prepare(call, served, ask)
    if ask.stream:
        await streamed(call, job, Chunks(job))
    else:
        await whole(call, job, completion)


async def whole(call: Call, job: Job, render: Callable[[Job, Sequence[Result]], dict[str, Any]]) -> None:
    """The answer in one piece."""
    with Present(call.receive):
        results = await perform(call, job)
        body = json.dumps(render(job, results), ensure_ascii=False).encode("utf-8", "replace")
        await call.answer(body, facts(call, job))


async def streamed(call: Call, job: Job, chunks: Chunks) -> None:
    """The answer as it comes."""
    seen: set[int] = set()

    async def work(events: Events) -> None:
        def piece(index: int, chunk: Chunk) -> None:
            for event in chunks.piece(index, chunk):
                if index not in seen:
                    seen.add(index)
                    call.first_token()
                events.put(event)

        def progress(index: int, record: NodeRecord) -> None:
            events.put(chunks.progress(index, node_news(record)))

        results = await perform(call, job, piece, progress if job.ask.archon.progress else None)
        for index, result in enumerate(results):
            for event in chunks.rest(index, result, index in seen):
                events.put(event)
        for event in chunks.last():
            events.put(event)
        events.put(b"[DONE]")

    await stream(call, work, lambda: stream_facts(job))


def node_news(record: NodeRecord) -> dict[str, Any]:
    """What a progress event says of a node."""
    state = "started" if record.ended is None else "failed" if record.error else "ended"
    return {"node": record.id, "layer": record.layer, "state": state, "candidates": len(record.candidates)}


def stream_facts(job: Job) -> list[tuple[bytes, bytes]]:
    """The headers of a streamed answer: what is known when it begins."""
    return [(b"x-archon-trace-id", job.trace_id.encode()), *job.room]


def facts(call: Call, job: Job) -> list[tuple[bytes, bytes]]:
    """The headers that say what an answer took."""
    told = report(job)
    cost = told["cost_usd"]
    return [
        (b"x-archon-cost-usd", b"unknown" if cost is None else f"{cost:.6f}".encode()),
        (b"x-archon-calls", str(told["calls"]).encode()),
        (b"x-archon-cache-hits", str(told["cache_hits"]).encode()),
        (b"x-archon-trace-id", job.trace_id.encode()),
        (b"x-archon-overhead-ms", call.overhead_ms.encode()),
        *job.room,
    ]
