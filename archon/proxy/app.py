"""The ASGI application: `create_app(settings)`. No globals: everything hangs on `app.state.services`.

    access log → end at a stop → key → bounds → idempotency → routes

The three POST routes stand on bare ASGI (archon.proxy.http.Endpoint) before FastAPI, because what it does for a route
costs as much as passing a request through; their schemas are written into the OpenAPI document by
`archon.proxy.openapi`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from archon import __version__
from archon.proxy import logs, openapi, pages, reload, routes_models
from archon.proxy.answers import SharedAnswers
from archon.proxy.architectures import load
from archon.proxy.asgi import App, Receive, Scope, Send
from archon.proxy.auth import KeyMiddleware, opening
from archon.proxy.bounds import BoundsMiddleware
from archon.proxy.errors import ApiError
from archon.proxy.http import Endpoint, Handler
from archon.proxy.idempotency import Idempotency
from archon.proxy.keys import is_postgres, open_store, sqlite_path
from archon.proxy.ledger import open_ledger
from archon.proxy.logs import AccessLogMiddleware
from archon.proxy.metrics import Metrics
from archon.proxy.passed import PassedRequests
from archon.proxy.routes_chat import chat
from archon.proxy.routes_completions import complete
from archon.proxy.routes_responses import respond
from archon.proxy.services import Services
from archon.proxy.settings import Settings
from archon.proxy.sharing import SharedIdempotency
from archon.proxy.stopping import StoppingMiddleware
from archon.proxy.telemetry import Tracing
from archon.proxy.traces import TraceStore
from archon.proxy.unmetered import Unmetered

SETTINGS = "ARCHON_PROXY_SETTINGS"
"""Environment variable in which worker processes find the settings of the process that started them."""
_SWEEP = 1.0
"""Seconds between two looks for catalogues that are no longer used."""


class ProxyApp(FastAPI):
    """FastAPI behind this server's own chain, with the POST routes before it.

    Attributes:
        chain: what a request meets first; FastAPI itself while it is None.
    """

    chain: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, or the lifespan."""
        if self.chain is None or scope["type"] != "http":
            await super().__call__(scope, receive, send)
        else:
            await self.chain(scope, receive, send)

    def routed(self, posts: Mapping[str, App]) -> App:
        """The innermost app: a POST route where one is meant, FastAPI for everything else."""
        everything = super().__call__

        async def route(scope: Scope, receive: Receive, send: Send) -> None:
            found = posts.get(scope["path"]) if scope["method"] == "POST" else None
            await (found or everything)(scope, receive, send)

        return route


def create_app(settings: Settings) -> ProxyApp:
    """The server of these settings.

    Raises:
        ConfigError: a file, a model, a key or the store is wrong, or the service would be open to others without a key.
    """
    return _app(_services(settings))


def app_from_environ() -> ProxyApp:
    """The app of a worker process."""
    raw: dict[str, Any] = json.loads(os.environ[SETTINGS])
    paths = {name: None if raw[name] is None else Path(raw[name]) for name in ("models", "cache")}
    settings = Settings(**{**raw, **paths, "files": tuple(Path(each) for each in raw["files"])})
    logs.configure(settings.log_level)
    return settled(create_app(settings))


def settled(app: ProxyApp) -> ProxyApp:
    """The app, for a process that does nothing else: what is loaded by now stays, and is not searched for garbage."""
    gc.collect()
    gc.freeze()
    return app


def for_workers(settings: Settings) -> str:
    """The settings as the environment variable holds them."""
    return json.dumps(asdict(settings), default=str)


def _services(settings: Settings) -> Services:
    catalogue = load(settings)
    services = Services(settings, catalogue, Metrics(), Unmetered(), tracing=Tracing.from_environ())
    services.metrics = Metrics(lambda: services.catalogue.ids)
    services.provide(catalogue)
    if settings.store is not None:
        services.keys = open_store(settings.store)
        services.open_to_all = opening(settings.host, services.keys)
        services.ledger = open_ledger(settings.store)
        services.traces = _traces(settings, services.metrics)
        services.passed = PassedRequests(services.traces, text=settings.trace_text)
        services.answers = SharedAnswers(_beside(settings.store).with_suffix(".answers.db"))
    return services


def _traces(settings: Settings, metrics: Metrics) -> TraceStore:
    return TraceStore(
        _beside(settings.store or "").with_suffix(".traces.db"),
        max_age=settings.trace_days * 86_400,
        max_count=settings.trace_count,
        dropped=metrics.traces_dropped.inc,
    )


def _beside(store: str) -> Path:
    """Where files beside the keys lie; where these are in PostgreSQL, the default place."""
    from archon.proxy.keys import default_store

    return Path(default_store()) if is_postgres(store) else sqlite_path(store)


def _app(services: Services) -> ProxyApp:
    settings = services.settings
    app = ProxyApp(
        title="Archon Engine",
        version=__version__,
        lifespan=_lifespan,
        docs_url="/docs" if settings.docs else None,
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs else None,
    )
    app.state.services = services
    posts = {path: Endpoint(services, path, handler) for path, handler in _posts()}
    for path, endpoint in posts.items():  # for what is not a POST: 405
        app.router.routes.append(Route(path, endpoint, methods=["POST"]))
    routes_models.add(app, services)
    if services.traces is not None and settings.docs:
        pages.install(app, services.traces, lambda: _shown(services))
    openapi.install(app)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)
    app.chain = _chain(app.routed(posts), services)
    return app


def _chain(app: App, services: Services) -> App:
    """What every request goes through, the last one first."""
    settings = services.settings
    if services.answers is not None:
        app = SharedIdempotency(app, services.answers)
    app = Idempotency().wrap(app)
    app = BoundsMiddleware(app, max_body=settings.max_body_bytes)
    if services.keys is not None:
        app = KeyMiddleware(app, services.keys, services.open_to_all)
    app = StoppingMiddleware(app, services.under_way)
    return AccessLogMiddleware(app, content=settings.log_content, observe=services.metrics.request)


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

    remove: Callable[[], None] = _nothing
    with suppress(NotImplementedError, RuntimeError, ValueError):  # no signals here: a thread, or Windows
        remove = reload.install(again)
    sweeping = asyncio.create_task(_sweep(services))
    try:
        yield
    finally:
        sweeping.cancel()
        remove()
        await services.under_way.ended()
        await services.aclose()


def _nothing() -> None:
    """Takes no handler away."""


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
