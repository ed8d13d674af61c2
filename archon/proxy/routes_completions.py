"""POST /v1/completions: the prompt becomes a user message; the answer comes back as text."""

from __future__ import annotations

import json
from typing import Any

from archon.proxy import feasible
from archon.proxy.ask import from_chat, refusals
from archon.proxy.errors import invalid
from archon.proxy.fields import COMPLETIONS
from archon.proxy.http import Call
from archon.proxy.render import TextChunks, text_completion
from archon.proxy.routes_chat import streamed, whole
from archon.proxy.runs import prepare
from archon.proxy.schema import ChatBody, CompletionBody, read

_REFUSED = refusals(COMPLETIONS)


async def complete(call: Call) -> None:
    """One text completion."""
    raw = call.json()
    served = call.catalogue[raw.get("model")]
    call.named(served.id)
    body = read(CompletionBody, raw, _REFUSED)
    if body.best_of not in (None, 1, body.n or 1):
        raise invalid("best_of: choosing among answers is the architecture's work; leave it out", "best_of")
    ask = from_chat(read(ChatBody, as_chat(body), {}))
    feasible.check(ask, served, call.catalogue.stack, call.services.settings)
    job = prepare(call, served, ask)
    if ask.stream:
        await streamed(call, job, TextChunks(job))
    else:
        await whole(call, job, text_completion)


def as_chat(body: CompletionBody) -> dict[str, Any]:
    """The same request as a chat completion's."""
    raw: dict[str, Any] = json.loads(body.model_dump_json(exclude_none=True, exclude={"prompt", "echo", "best_of"}))
    prompt = body.prompt if isinstance(body.prompt, str) else body.prompt[0]
    return {**raw, "messages": [{"role": "user", "content": prompt}]}
