"""The page at /ui and the data it reads. The page itself is public and holds nothing; its data is behind the caller's
key.

    GET /ui                      the page; /ui/static/NAME its parts
    GET /ui/api/models           what is served, with each architecture's picture
    GET /ui/api/traces           the caller's past requests
    GET /ui/api/traces/{id}      one of them, whole

No outside asset, no inline script or style: the Content-Security-Policy forbids both, so that text which a model wrote
could not run even if it were once taken for markup.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from archon.architecture import Architecture
from archon.proxy.inside import drawing, view
from archon.proxy.traces import TraceStore

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
GUARDS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
MOST = 200
"""Past requests of each kind in one answer."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One thing that can be asked."""

    id: str
    architecture: Architecture | None = None
    """None = a plain model."""


def install(app: FastAPI, traces: TraceStore, served: Callable[[], Iterable[Shown]]) -> None:
    """Adds the page and its data to an app.

    Args:
        served: what is served now; asked at every look, so that a reload shows.
    """
    from starlette.responses import Response

    parts = _parts()

    def part(name: str) -> Response:
        if name not in parts:
            return Response("there is no such page", 404, headers=GUARDS, media_type="text/plain")
        return Response(parts[name], headers=GUARDS, media_type=_TYPES[name.rpartition(".")[2]])

    async def page(request: Request) -> Response:
        return part("index.html")

    async def static(request: Request) -> Response:
        return part(request.path_params["name"])

    async def models(request: Request) -> Response:
        return _json({"data": [_shown(each) for each in served()]})

    async def past(request: Request) -> Response:
        limit = request.query_params.get("limit", "50")
        most = min(int(limit), MOST) if limit.isdecimal() and len(limit) < 6 else 50
        return _json({"data": await traces.list(_caller(request), most)})

    async def one(request: Request) -> Response:
        found = await traces.get(_caller(request), request.path_params["trace_id"])
        if found is None:
            message = "there is no such trace among this key's; traces are kept for a limited time"
            error = {"message": message, "type": "invalid_request_error", "param": None, "code": "trace_not_found"}
            return _json({"error": error}, 404)
        summary = {**found["summary"], "seed": str(found["summary"].get("seed", ""))}  # browsers' numbers end at 2^53
        return _json({**found, "summary": summary, "trace": view(found["trace"])})

    for path, handler in {
        "/ui": page,
        "/ui/static/{name}": static,
        "/ui/api/models": models,
        "/ui/api/traces": past,
        "/ui/api/traces/{trace_id}": one,
    }.items():
        app.add_route(path, handler, methods=["GET"], include_in_schema=False)


def _parts() -> Mapping[str, bytes]:
    """The page's files by name; nothing else can be asked for."""
    folder = files("archon.proxy") / "ui"
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.name.rpartition(".")[2] in _TYPES}


def _caller(request: Request) -> str | None:
    key = request.scope.get("archon.key")
    return key.id if key else None


def _shown(each: Shown) -> dict[str, Any]:
    if each.architecture is None:
        return {"id": each.id}
    return {"id": each.id, "hash": each.architecture.hash, "picture": drawing(each.architecture)}


def _json(value: object, status: int = 200) -> Response:
    from starlette.responses import Response

    return Response(json.dumps(value), status, headers={**GUARDS, "cache-control": "no-store"},
                    media_type="application/json")  # fmt: skip
