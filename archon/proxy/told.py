"""What the bytes of a stream of server-sent events tell, without reading every event: its end, and whether it failed.

Inside JSON a quote or a line break in a text is escaped, so a bare `"name":` can only be a key, and a line that begins
with `data:` only a field: patterns find candidates exactly, and no more than these are parsed.
"""

from __future__ import annotations

import json
import re
from typing import Any

USAGE = re.compile(rb'"usage"\s*:\s*\{')
FINISH = re.compile(rb'"finish_reason"\s*:\s*"')
_DONE = re.compile(rb"^data: ?\[DONE\]", re.MULTILINE)
_ERROR = re.compile(rb'"error"\s*:(?!\s*null\b)')
_NAMED = re.compile(rb"^event: ?(?:error|response\.failed)\b", re.MULTILINE)


def ended(events: bytes) -> bool:
    """Whether the mark that ends a stream of completions is among them."""
    return b"[DONE]" in events and _DONE.search(events) is not None


def failed(events: bytes) -> bool:
    """Whether one of them tells an error in place of an answer."""
    if b'"error"' in events and _ERROR.search(events):
        bodies = (body_of(line) or {} for line in events.splitlines() if line.startswith(b"data:"))
        return any(body.get("error") not in (None, False, "") for body in bodies)
    return b"event:" in events and _NAMED.search(events) is not None


def body_of(event: bytes) -> dict[str, Any] | None:
    """The JSON object of an event; None where it is none."""
    try:
        body = json.loads(event.partition(b"data:")[2])
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None
