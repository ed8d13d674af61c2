"""Upper bounds on what a call can cost, known before it is made.

No tokenizer gives more tokens than its text has UTF-8 bytes, plus what the chat template adds: a few tokens a message,
a fixed part, and the tools and schema, which templates may print with an indent. A model that counts tokens itself is
asked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from archon.amounts import micro_usd
from archon.clients.defaults import TOKEN_BOUNDS
from archon.errors import BudgetError
from archon.types import Message, Price, Request

TEMPLATE_TOKENS = 256
"""What a chat template may add to a conversation: its own system message, a date, the opening of the answer."""
MESSAGE_TOKENS = 16
"""What it may add to each message: role and end marks."""
TOOL_TOKENS = 512
"""What it may add where tools are offered: how to call them."""
IMAGE_TOKENS = 50_000
"""More than any provider bills for one image (the dearest known: 48,169)."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The most a call can use. `tokens` is 0 where nothing bounds it (no token or USD budget)."""

    tokens: int
    micro_usd: int | None
    """None = the price is unknown."""


def worst_case(request: Request, price: Price | None, prompt_tokens: int | None = None) -> Bound:
    """The bound for one attempt.

    Args:
        prompt_tokens: the prompt's exact tokens, where the model counts them.

    Raises:
        BudgetError: the request does not bound its answer, or holds a part whose tokens nothing bounds (a file, audio).
    """
    answer = max((_bound(request, name) for name in TOKEN_BOUNDS), default=0)
    if answer <= 0:
        raise BudgetError("budget: a call without max_tokens has no worst case; set max_tokens")
    prompt = _prompt_bound(request) if prompt_tokens is None else prompt_tokens
    cost = None if price is None else micro_usd(price.cost(prompt, answer))
    return Bound(prompt + answer, cost)


def _bound(request: Request, name: str) -> int:
    own = request.sampling.max_tokens if name == "max_tokens" else None
    return int(request.sampling.extra.get(name) or own or 0)


def _prompt_bound(request: Request) -> int:
    total = TEMPLATE_TOKENS + sum(MESSAGE_TOKENS + message_bound(message) for message in request.messages)
    if request.tools:
        total += TOOL_TOKENS + _printed(request.tools)
    return total + (_printed(request.response_format) if request.response_format else 0)


def message_bound(message: Message) -> int:
    """Upper bound on the tokens of one message's content, name, tool calls and further keys."""
    total = len((message.name or "").encode(errors="replace"))
    if isinstance(message.content, str):
        total += len(message.content.encode(errors="replace"))
    for part in message.content if isinstance(message.content, tuple) else ():
        total += _part_bound(part)
    for value in (message.tool_calls, message.tool_call_id, message.extra):
        total += _printed(value) if value else 0
    return total


def _part_bound(part: Any) -> int:
    kind = part.get("type")
    if kind == "text":
        return len(str(part.get("text", "")).encode(errors="replace"))
    if kind == "image_url":
        return IMAGE_TOKENS
    raise BudgetError(f"budget: nothing bounds the tokens of a {kind!r} part; send it without a token or USD budget")


def _printed(value: Any) -> int:
    return len(json.dumps(value, indent=4, default=dict).encode())
