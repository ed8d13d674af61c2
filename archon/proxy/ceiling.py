"""The most that a passed-through request can cost, read from its parsed body.

The numbers that bound it must be numbers, since an upstream may read "100000" or 16.0 as one; and where the key has a
budget, a part whose tokens nothing bounds (a file, audio) is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archon.clients.bounds import IMAGE_TOKENS, MESSAGE_TOKENS, TEMPLATE_TOKENS, TOOL_TOKENS
from archon.clients.defaults import TOKEN_BOUNDS
from archon.clients.openai import OpenAIClient
from archon.clients.stack import FORCED_MAX_TOKENS
from archon.proxy.errors import invalid

MOST_TOKENS = 2**31 - 1
"""Of one answer; more is no number that a model could mean."""
_COUNTS = (*((name, False) for name in TOKEN_BOUNDS), ("n", True), ("best_of", True))
_TEXTS = ("text", "refusal")


def check_counts(raw: Mapping[str, Any], max_n: int) -> None:
    """Raises ApiError 400 where a field that says how much may be answered is no whole number in its range."""
    for name, of_answers in _COUNTS:
        value = raw.get(name)
        if value is None:
            continue
        most = max_n if of_answers else MOST_TOKENS
        if type(value) is not int or not 1 <= value <= most:
            raise invalid(f"{name}: it must be a whole number from 1 to {most:,}", name, "invalid_value")


def worst_case(body: bytes, raw: Mapping[str, Any], client: OpenAIClient, bounded: bool) -> tuple[int, int]:
    """Most prompt and answer tokens: no tokenizer makes more tokens of a text than it has bytes.

    Args:
        raw: the body, parsed, its counts checked.
        bounded: whether a budget rests on it. Without one, a part that nothing bounds counts as an image.

    Raises:
        ApiError: a budget rests on it, and nothing bounds the prompt.
    """
    messages = raw.get("messages")
    count = len(messages) if isinstance(messages, list) else 0
    images = _attached(messages, bounded) * IMAGE_TOKENS
    prompt = len(body) + TEMPLATE_TOKENS + MESSAGE_TOKENS * count + images + (TOOL_TOKENS if raw.get("tools") else 0)
    named = max(raw.get("max_tokens") or 0, raw.get("max_completion_tokens") or 0)
    answer = named or client.spec.max_tokens or FORCED_MAX_TOKENS
    return prompt, answer * max(raw.get("n") or 1, raw.get("best_of") or 1)


def _attached(messages: object, bounded: bool) -> int:
    """How many parts of the messages are no text."""
    if not isinstance(messages, list):
        if bounded:
            raise invalid("messages: it must be a list", "messages")
        return 0
    found = 0
    for message in messages:
        if isinstance(message, dict):
            content = message.get("content")
            if not isinstance(content, str) and content is not None:
                found += _parts(content, bounded)
        elif bounded:
            raise invalid("messages: each must be an object", "messages")
    return found


def _parts(content: object, bounded: bool) -> int:
    found = 0
    for part in content if isinstance(content, list) else (content,):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in _TEXTS or isinstance(part, str):
            continue
        if bounded and kind != "image_url":
            what = f"a part of type {kind[:50]!r}" if isinstance(kind, str) else "a part without a type"
            raise invalid(f"messages: nothing bounds the tokens of {what}, and this key has a budget", "messages")
        found += 1
    return found
