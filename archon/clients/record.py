"""A completion as one line of JSON and back: the form in which answers are kept on disk."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from archon.types import Completion, Message, TokenLogprob, Usage


def to_record(completion: Completion) -> str:
    """The completion as JSON; `cached` is not part of it, for it is about the reading."""
    record: dict[str, Any] = {
        "message": completion.message.to_dict(),
        "model": completion.model,
        "usage": asdict(completion.usage),
        "finish_reason": completion.finish_reason,
        "id": completion.id,
    }
    if completion.logprobs is not None:
        record["logprobs"] = [[each.token, each.logprob, each.top] for each in completion.logprobs]
    return json.dumps(record, separators=(",", ":"))


def from_record(text: str) -> Completion:
    """The completion, marked as cached.

    Raises:
        ValueError: the text is not a record (cut off, or of another version).
    """
    try:
        raw = json.loads(text)
        return Completion(
            Message.from_dict(raw["message"]),
            raw["model"],
            Usage(**raw["usage"]),
            raw["finish_reason"],
            _logprobs(raw.get("logprobs")),
            cached=True,
            id=raw["id"],
        )
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"not a completion record: {error}") from error


def _logprobs(raw: list[Any] | None) -> tuple[TokenLogprob, ...] | None:
    if raw is None:
        return None
    return tuple(TokenLogprob(token, value, tuple((t, p) for t, p in top)) for token, value, top in raw)
