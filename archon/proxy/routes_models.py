"""GET /v1/models, /health, /ready, /metrics."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from archon.proxy.architectures import Served
from archon.proxy.errors import ApiError
from archon.proxy.metrics import CONTENT_TYPE
from archon.proxy.services import Services

_PATIENCE = 5.0
"""Seconds an upstream has to take a connection before it counts as not ready."""


def add(app: FastAPI, services: Services) -> None:
    """Adds the routes."""

    @app.get("/v1/models", tags=["models"], summary="What is served")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_listed(each, services) for each in services.catalogue]}

    @app.get("/v1/models/{model:path}", tags=["models"], summary="One model")
    async def model(model: str) -> Response:
        try:
            return JSONResponse(_listed(services.catalogue[model], services))
        except ApiError as error:
            return JSONResponse(error.body(), error.status)

    @app.get("/health", tags=["operation"], summary="Whether the process answers")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready", tags=["operation"], summary="Whether the upstreams take connections")
    async def ready() -> Response:
        found = await _upstreams(services)
        up = all(each == "ok" for each in found.values())
        return JSONResponse({"status": "ready" if up else "not ready", "upstreams": found}, 200 if up else 503)

    @app.get("/metrics", tags=["operation"], summary="Prometheus metrics", response_class=Response)
    async def metrics() -> Response:
        return Response(services.metrics.render(), media_type=CONTENT_TYPE)


def _listed(served: Served, services: Services) -> dict[str, Any]:
    """OpenAI's model object; for an architecture with what is known of it."""
    row: dict[str, Any] = {
        "id": served.id,
        "object": "model",
        "created": services.catalogue.created,
        "owned_by": "archon" if served.plain is None else services.catalogue.stack.spec(served.plain).client,
    }
    if served.plain is None:
        row["archon"] = {
            "hash": served.graph.architecture.hash,
            "calls": served.plan.calls,
            "stages": served.plan.stages,
            "models": list(served.graph.architecture.model_ids),
            **{name: served.facts[name] for name in ("scores", "benchmark") if name in served.facts},
        }
    return row


async def _upstreams(services: Services) -> dict[str, str]:
    """Every endpoint's host, and whether it takes a connection; nothing is asked of it."""
    plain = [each for each in services.catalogue if each.transport is not None]
    hosts = {each.transport.address: each.plain for each in plain if each.transport is not None}
    known = await asyncio.gather(*(_reached(host, port) for host, port in hosts))
    return {f"{host}:{port}": state for (host, port), state in zip(hosts, known, strict=True)}


async def _reached(host: str, port: int) -> str:
    try:
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"no connection within {_PATIENCE:g} s"
    except OSError as error:
        return f"cannot connect ({error.strerror or type(error).__name__})"
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return "ok"
