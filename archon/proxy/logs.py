"""One JSON line a request, without content: who asked for what, what it took, how it ended.

Routes add what they know to `scope["archon.log"]` (model, trace_id, calls, micro_usd, tokens …). Only names in `FIELDS`
are written, so no prompt, answer, header or key can get into a line by mistake.
"""

from __future__ import annotations

import json
import logging
import random
import re
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from traceback import extract_tb
from typing import Any, TextIO

from archon.errors import ConfigError
from archon.proxy.asgi import App, Event, Receive, Scope, Send, header

FIELDS = (
    "model", "trace_id", "calls", "cache_hits", "prompt_tokens", "completion_tokens", "micro_usd", "flagged",
    "overhead_ms", "first_token_ms", "stream", "stopped", "error_code",
)  # fmt: skip
"""What a route may say of a request."""
CONTENT = ("messages", "answer")
"""Written only where asked for."""

ROUTES = frozenset({
    "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/models", "/health", "/ready", "/metrics", "/docs",
    "/openapi.json", "/ui", "/ui/api/models", "/ui/api/traces",
})  # fmt: skip
FOLDERS = ("/v1/models/", "/ui/api/traces/", "/ui/static/")

LEVELS = ("debug", "info", "warning", "error")

_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)
FAILED, LEFT = 500, 499
"""Statuses of requests that nothing was sent to: one that raised, one whose client left."""

access = logging.getLogger("archon.proxy.access")


class AccessLogMiddleware:
    """Names every request, answers with its name (`x-request-id`), and logs it when it is over.

    A request keeps the id that it comes with, where that is a plain one, so that logs can be joined across services.

    Args:
        content: also log messages and answers, where routes give them.
        observe: told (route, model, status, seconds) of every request; for metrics.
    """

    def __init__(
        self,
        app: App,
        *,
        content: bool = False,
        observe: Callable[[str, str, int, float], None] = lambda *_: None,
    ) -> None:
        self._app, self._observe = app, observe
        self._numbers = random.Random()  # names requests, guards nothing; the system's own source is a call a request
        self._fields = FIELDS + CONTENT if content else FIELDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        scope["archon.request_id"] = request_id = _request_id(scope, self._numbers)
        told: dict[str, Any] = {}
        scope["archon.log"] = told
        status = 0

        async def named(event: Event) -> None:
            nonlocal status
            if event["type"] == "http.response.start":
                status = event["status"]
                _named(event, request_id)
            await send(event)

        try:
            await self._app(scope, receive, named)
        except BaseException:
            status = status or FAILED
            raise
        finally:
            self._over(scope, told, status or LEFT, time.perf_counter() - began)

    def _over(self, scope: Scope, told: Mapping[str, Any], status: int, seconds: float) -> None:
        self._observe(route_of(scope), str(told.get("model", "")), status, seconds)
        if access.isEnabledFor(logging.INFO):
            # Not access.info(): it walks the stack for the caller's place, which is always this one.
            record = access.makeRecord(access.name, logging.INFO, __file__, 0, "request", (), None)
            record.archon = self._line(scope, told, status, seconds)
            access.handle(record)

    def _line(self, scope: Scope, told: Mapping[str, Any], status: int, seconds: float) -> dict[str, Any]:
        key = scope.get("archon.key")
        line: dict[str, Any] = {
            "request_id": scope["archon.request_id"],
            "method": scope["method"],
            "route": route_of(scope),
            "status": status,
            "ms": round(seconds * 1e3, 2),
            "key": key.id if key else None,
        }
        line.update((name, told[name]) for name in self._fields if name in told)
        return line


def route_of(scope: Scope) -> str:
    """The route's template: what a client makes up gets into no label and no log. "other" where there is none."""
    path = str(scope["path"])
    if path in ROUTES:
        return path
    return next((prefix + "{id}" for prefix in FOLDERS if path.startswith(prefix)), "other")


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Sends this package's logs to standard error as JSON lines. For the command that owns the process.

    Raises:
        ConfigError: there is no such level.
    """
    if level.lower() not in LEVELS:
        raise ConfigError(f"log level {level!r}: it must be one of {', '.join(LEVELS)}")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("archon.proxy")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter.format."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "archon", {}),
        }
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
            # Its words may quote a prompt, so they are left out.
            line["where"] = [f"{at.filename}:{at.lineno} {at.name}" for at in extract_tb(record.exc_info[2])[-10:]]
        return _ENCODER.encode(line)


def _named(event: Event, request_id: str) -> None:
    """Puts the request's id among the headers, once."""
    headers = event.get("headers", ())
    for name, _ in headers:
        if name == b"x-request-id":
            return
    event["headers"] = [*headers, (b"x-request-id", request_id.encode())]


def _request_id(scope: Scope, numbers: random.Random) -> str:
    given = header(scope, b"x-request-id")
    return given if given and _ID.fullmatch(given) else f"req_{numbers.getrandbits(96):024x}"
