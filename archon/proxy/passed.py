"""Requests that were passed through, for the list of past requests: noted in memory, put on file once a second.

Only the newest `MOST` of a second are kept, so the list costs next to nothing under load; metrics and the access log
count every request. Nothing of the answer is read for it, and none of its text is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, Any, NamedTuple

from archon.proxy.traces import TraceStore

if TYPE_CHECKING:
    from archon.proxy.http import Call
    from archon.proxy.keys import KeyRecord

MOST = 20
"""Requests of one second and one worker that are listed."""
WAIT = 1.0
"""Seconds after which what was noted goes to the file."""


@dataclass(frozen=True, slots=True)
class Passing:
    """What is known of a request when it is passed through."""

    messages: object
    """As they came: not checked."""
    priced: bool
    """Whether the model's price is known."""


class PassedRequests:
    """Of one worker.

    Args:
        text: whether the last question is kept too.
    """

    def __init__(self, traces: TraceStore, *, text: bool) -> None:
        self._traces, self._text = traces, text
        self._noted: deque[_Noted] = deque(maxlen=MOST)
        self._planned: asyncio.TimerHandle | None = None

    def note(self, call: Call, passing: Passing) -> None:
        """One request that is over."""
        asked = question(passing.messages) if self._text else ""  # now, so that no body is held for it
        told = call.scope.get("archon.log", {})
        seconds = time.perf_counter() - call.began
        known = (call.id, call.key, call.model, call.status, passing.priced)
        self._noted.append(_Noted(*known, asked, told, seconds, time.time()))
        if self._planned is None:
            self._planned = asyncio.get_running_loop().call_later(WAIT, self.flush)

    def flush(self) -> None:
        """Hands over what was noted; never waits."""
        if self._planned is not None:
            self._planned.cancel()
            self._planned = None
        while self._noted:
            noted = self._noted.popleft()
            key = noted.key.id if noted.key else None
            own = f"pt_{noted.id}_{token_hex(4)}"  # a client may give several requests one name
            self._traces.save(own, key, _summary(noted), dict, at=noted.at)


class _Noted(NamedTuple):
    id: str
    key: KeyRecord | None
    model: str
    status: int
    priced: bool
    question: str
    told: Mapping[str, Any]
    """What the access log knows: tokens, cost, what went wrong."""
    seconds: float
    at: float


def _summary(noted: _Noted) -> dict[str, Any]:
    told = noted.told
    cost = told.get("micro_usd", 0) / 1e6 if noted.priced else None
    failed = noted.status != 200 or "error_code" in told
    return {
        "architecture": noted.model,
        "status": noted.status or None,
        "request_id": noted.id,
        "calls": told.get("calls", 0),
        "cache_hits": 0,
        "prompt_tokens": told.get("prompt_tokens"),
        "completion_tokens": told.get("completion_tokens"),
        "cost_usd": cost,
        "list_cost_usd": cost,
        "seconds": round(noted.seconds, 3),
        "question": noted.question,
        "error": str(told.get("error_code") or f"status {noted.status}") if failed else None,
    }


def question(messages: object) -> str:
    """The beginning of the last message's text; "" where there is none, whatever a client sent."""
    last = messages[-1] if isinstance(messages, list) and messages else None
    content = last.get("content") if isinstance(last, dict) else None
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = " ".join(text for text in texts if isinstance(text, str))
    return content[:200] if isinstance(content, str) else ""
