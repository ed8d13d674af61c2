"""The ASGI application: `create_app(settings)`. No globals: everything hangs on `app.state.services`.

    access log → key → bounds → idempotency → routes

The three POST routes stand on bare ASGI (archon.proxy.http.Endpoint), because what FastAPI does for a route costs more
than passing a request through; their schemas are written into the OpenAPI document by `archon.proxy.openapi`.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from archon import __version__
from archon.proxy import openapi, pages, reload, routes_models
from archon.proxy.architectures import load
from archon.proxy.auth import KeyMiddleware, opening
from archon.proxy.bounds import BoundsMiddleware
from archon.proxy.errors import ApiError
from archon.proxy.http import Endpoint, Handler
from archon.proxy.idempotency import Idempotency
from archon.proxy.keys import is_postgres, open_store, sqlite_path
from archon.proxy.ledger import open_ledger
from archon.proxy.logs import AccessLogMiddleware
from archon.proxy.metrics import Metrics
from archon.proxy.routes_chat import chat
from archon.proxy.routes_completions import complete
from archon.proxy.routes_responses import respond
from archon.proxy.services import Services
from archon.proxy.settings import Settings
from archon.proxy.telemetry import Tracing
from archon.proxy.traces import TraceStore
from archon.proxy.unmetered import Unmetered

SETTINGS = "ARCHON_PROXY_SETTINGS"
"""Environment variable in which worker processes find the settings of the process that started them."""
_SWEEP = 1.0
"""Seconds between two looks for catalogues that are no longer used."""


def create_app(settings: Settings) -> FastAPI:
    """The server of these settings.

    Raises:
        ConfigError: a file, a model, a key or the store is wrong, or the service would be open to others without a key.
    """
    return _app(_services(settings))


def app_from_environ() -> FastAPI:
    """The app of a worker process."""
    raw: dict[str, Any] = json.loads(os.environ[SETTINGS])
    paths = {name: None if raw[name] is None else Path(raw[name]) for name in ("models", "cache")}
    return create_app(Settings(**{**raw, **paths, "files": tuple(Path(each) for each in raw["files"])}))


def for_workers(settings: Settings) -> str:
    """The settings as the environment variable holds them."""
    return json.dumps(asdict(settings), default=str)


def _services(settings: Settings) -> Services:
    catalogue = load(settings)
    services = Services(settings, catalogue, Metrics(), Unmetered(), tracing=Tracing.from_environ())
    services.metrics = Metrics(lambda: services.catalogue.ids)
    if settings.store is not None:
        services.keys = open_store(settings.store)
        services.open_to_all = opening(settings.host, services.keys)
        services.ledger = open_ledger(settings.store)
        services.traces = _traces(settings, services.metrics)
    return services


def _traces(settings: Settings, metrics: Metrics) -> TraceStore:
    """Beside the keys; where these are in PostgreSQL, in the default place."""
    from archon.proxy.keys import default_store

    store = settings.store or ""
    beside = Path(default_store()) if is_postgres(store) else sqlite_path(store)
    return TraceStore(
        beside.with_suffix(".traces.db"),
        max_age=settings.trace_days * 86_400,
        max_count=settings.trace_count,
        dropped=metrics.traces_dropped.inc,
    )


def _app(services: Services) -> FastAPI:
    settings = services.settings
    app = FastAPI(
        title="Archon Engine",
        version=__version__,
        lifespan=_lifespan,
        docs_url="/docs" if settings.docs else None,
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs else None,
    )
    app.state.services = services
    for path, handler in _posts():
        app.router.routes.insert(0, Route(path, Endpoint(services, path, handler), methods=["POST"]))
    routes_models.add(app, services)
    if services.traces is not None and settings.docs:
        pages.install(app, services.traces, lambda: _shown(services))
    openapi.install(app)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)
    app.add_middleware(Idempotency().wrap)  # type: ignore[arg-type]  # a factory serves as well as a class
    app.add_middleware(BoundsMiddleware, max_body=settings.max_body_bytes)
    if services.keys is not None:
        app.add_middleware(KeyMiddleware, store=services.keys, open_to_all=services.open_to_all)
    app.add_middleware(AccessLogMiddleware, content=settings.log_content, observe=services.metrics.request)
    return app


def _posts() -> list[tuple[str, Handler]]:
    return [("/v1/responses", respond), ("/v1/completions", complete), ("/v1/chat/completions", chat)]


def _shown(services: Services) -> list[pages.Shown]:
    """What the page offers to try."""
    return [
        pages.Shown(served.id, served.graph.architecture if served.plain is None else None)
        for served in services.catalogue
    ]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services

    def again() -> str:
        services.swap(load(services.settings))
        return ", ".join(served.id for served in services.catalogue)

    remove = lambda: None  # noqa: E731
    with suppress(NotImplementedError, RuntimeError, ValueError):  # no signals here: a thread, or Windows
        remove = reload.install(again)
    sweeping = asyncio.create_task(_sweep(services))
    try:
        yield
    finally:
        sweeping.cancel()
        remove()
        await services.aclose()


async def _sweep(services: Services) -> None:
    while True:
        await asyncio.sleep(_SWEEP)
        await services.sweep()


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    """A route that is not there, a method it does not take."""
    assert isinstance(error, HTTPException)
    found = ApiError(error.status_code, f"{request.method} {request.url.path[:200]}: {error.detail}", code="not_found")
    return JSONResponse(found.body(), error.status_code, headers=dict(error.headers or {}))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    found = ApiError(500, f"internal error ({type(error).__name__})", code="internal_error", retry=False)
    return JSONResponse(found.body(), 500, headers={"x-should-retry": "false"})
