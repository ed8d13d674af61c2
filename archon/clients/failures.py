"""The one boundary where an upstream's failures become this project's errors.

Messages name the model and the endpoint's host, quote at most one short line of what the upstream said, and never
hold a
key, a header or a prompt: the upstream's words are searched for them first, because some upstreams echo what they
were sent.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from archon.errors import AuthError, ClientError, ContextOverflowError, RequestError, RetryableError
from archon.types import Message

_LONGEST_QUOTE = 300
_SHORTEST_PROMPT = 12
"""Shorter message texts are words of their own (a name, a number) and may stand in an error by chance."""

_RETRYABLE = frozenset({408, 409, 425, 429})
_UNBILLED = frozenset({429, 500, 501, 503, 529})
"""The model's own "no": nothing was generated. A gateway's 408, 502, 504 may hide an answer that is billed."""
_OVERFLOW = re.compile(
    r"context[ _](length|window|size)|maximum context|too many (input )?tokens|prompt is too long"
    r"|exceeds? the (maximum|limit) .*tokens",
    re.IGNORECASE,
)
_SECRET = re.compile(r"(?i)\b(bearer\s+\S+|(sk|pk|gsk|xai|key)[-_][\w*.-]{6,})")


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a call went, for messages; and what they must not hold."""

    model: str
    host: str
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Upstream({self.model!r}, {self.host!r})"

    def __str__(self) -> str:
        return f"model {self.model!r} at {self.host}"

    def betrayed(self, error: BaseException) -> bool:
        """Whether an error's own text holds a secret."""
        return any(secret in f"{error!s}{error!r}" for secret in self.secrets)

    def quoted(self, text: object, messages: Iterable[Message] = ()) -> str:
        """An upstream's words, on one line, cut, without secrets or prompts."""
        clean = str(text)
        for message in messages:
            for said in (message.text, json.dumps(message.text)[1:-1], repr(message.text)[1:-1]):
                if len(said) >= _SHORTEST_PROMPT:
                    clean = clean.replace(said, "[prompt]")
        for secret in self.secrets:
            clean = clean.replace(secret, "[key]")
        clean = " ".join(_SECRET.sub("[key]", clean).split())
        return clean if len(clean) <= _LONGEST_QUOTE else clean[: _LONGEST_QUOTE - 1] + "…"


def from_status(
    where: Upstream, status: int, headers: Mapping[str, str], body: bytes, messages: Iterable[Message] = ()
) -> ClientError:
    """The error for an HTTP answer that is not 200."""
    error = _envelope(body)
    said = where.quoted(error.get("message") or body.decode(errors="replace") or "no further words", messages)
    return classified(where, status, error.get("code") or error.get("type"), said, headers)


def from_event(where: Upstream, error: object, messages: Iterable[Message] = ()) -> ClientError:
    """The error for an `{"error": …}` that came with status 200 or in the middle of a stream."""
    fields = error if isinstance(error, Mapping) else {"message": error}
    code = fields.get("code")
    status = int(str(code)) if re.fullmatch("[45][0-9][0-9]", str(code)) else 500
    found = classified(where, status, code or fields.get("type"), where.quoted(fields.get("message"), messages), {})
    found.billed = None
    return found


def classified(where: Upstream, status: int, code: object, said: str, headers: Mapping[str, str]) -> ClientError:
    """The error class of a status, with what it means for another attempt and for the bill."""
    text = f"{where}: {status}{f' {code}' if code and str(code) != str(status) else ''}: {said}"
    wish = headers.get("x-should-retry", "").lower()
    may_pass = status in _RETRYABLE or status >= 500
    if code == "insufficient_quota" or (may_pass and wish == "false"):
        return ClientError(text, status=status, billed=_billed(status))
    if wish == "true" or may_pass:
        return RetryableError(text, status=status, retry_after=retry_after(headers), billed=_billed(status))
    if status in (401, 403):
        return AuthError(text, status=status, billed=False)
    if status in (400, 413, 422) and (code == "context_length_exceeded" or _OVERFLOW.search(said)):
        return ContextOverflowError(text, status=status, billed=False)
    if 300 <= status < 400:
        text = f"{where}: {status}: it redirects elsewhere; correct the model's endpoint (keys are not sent on)"
    return RequestError(text, status=status, billed=False)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the upstream asks to wait: `retry-after-ms`, or `Retry-After` in seconds or as an HTTP date; else
    None."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    try:
        when = parsedate_to_datetime(headers.get("retry-after", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, when - time.time())


def _billed(status: int) -> bool | None:
    return False if status in _UNBILLED or (status < 500 and status not in (408, 409)) else None


def _envelope(body: bytes) -> Mapping[str, Any]:
    """The error object of a body: OpenAI's envelope, a plain `error` text, FastAPI's `detail`; empty where it is
    none."""
    try:
        raw = json.loads(body)
    except ValueError:
        return {}
    raw = raw[0] if isinstance(raw, list) and raw else raw
    if not isinstance(raw, Mapping):
        return {}
    error = raw.get("error", raw)
    if isinstance(error, Mapping):
        return error if "message" in error else {**error, "message": error.get("detail")}
    return {"message": error}
