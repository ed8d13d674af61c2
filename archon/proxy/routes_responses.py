"""POST /v1/responses: create. Nothing is stored, so a conversation is sent whole every time."""

from __future__ import annotations

import json
from typing import Any

from archon.proxy import feasible
from archon.proxy.ask import from_chat, refusals
from archon.proxy.fields import RESPONSES
from archon.proxy.http import Call, Present
from archon.proxy.responses_input import as_chat
from archon.proxy.responses_output import ResponseEvents, response
from archon.proxy.routes_chat import facts, node_news, stream_facts
from archon.proxy.runs import Job, perform, prepare
from archon.proxy.schema import ChatBody, ResponsesBody, read
from archon.proxy.streaming import Events, stream
from archon.trace import NodeRecord
from archon.types import Chunk

_REFUSED = refusals(RESPONSES)


async def respond(call: Call) -> None:
    """One response."""
    raw = call.json()
    served = call.catalogue[raw.get("model")]
    call.named(served.id)
    body = read(ResponsesBody, _told(raw), _REFUSED)
    ask = from_chat(read(ChatBody, as_chat(body), {}))
    feasible.check(ask, served, call.catalogue.stack, call.services.settings)
    job = prepare(call, served, ask)
    if body.stream:
        await _streamed(call, job, body)
        return
    with Present(call.receive):
        (result,) = await perform(call, job)
        data = json.dumps(response(job, body, result), ensure_ascii=False).encode("utf-8", "replace")
        await call.answer(data, facts(call, job))


def _told(raw: dict[str, Any]) -> dict[str, Any]:
    """The fields less those that are refused unless empty, and are: `include: []`, `background: false`."""
    return {name: value for name, value in raw.items() if name not in _REFUSED or value not in ([], False)}


async def _streamed(call: Call, job: Job, body: ResponsesBody) -> None:
    telling = ResponseEvents(job, body)

    def begin(events: Events) -> None:
        for name, data in telling.begin():
            events.put(data, name)

    async def work(events: Events) -> None:
        def piece(_: int, chunk: Chunk) -> None:
            begin(events)
            for name, data in telling.piece(chunk):
                call.first_token()
                events.put(data, name)

        def progress(_: int, record: NodeRecord) -> None:
            begin(events)
            name, data = telling.progress(node_news(record))
            events.put(data, name)

        (result,) = await perform(call, job, piece, progress if body.archon.progress else None)
        begin(events)
        for name, data in telling.rest(result):
            events.put(data, name)

    def failed(envelope: bytes) -> tuple[bytes, str | None]:
        name, data = telling.error(envelope)
        return data, name

    await stream(call, work, lambda: stream_facts(job), failed, begin)
