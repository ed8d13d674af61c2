"""`archon serve`: architectures behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archon.cli_sandbox import UnsafeExec
from archon.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from archon.proxy.settings import Settings

Files = Annotated[list[Path], typer.Argument(help="Architecture files; each is served as archon/NAME.")]


def serve(
    files: Files,
    models: Annotated[Path | None, typer.Option("--models", help="YAML with further models; all are served.")] = None,
    host: Annotated[str, typer.Option(help="Address to bind to; anywhere but loopback needs a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 = any free one.")] = 8000,
    cache: Annotated[Path | None, typer.Option("--cache", help="Folder of the call cache.")] = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="SQLite file or postgresql:// URL of keys and ledger; default: $ARCHON_STORE, else the user's own."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    deadline: Annotated[float, typer.Option(min=0.001, help="Seconds for one request.")] = 600.0,
    drain: Annotated[float, typer.Option(min=0, help="Seconds for requests under way when stopping.")] = 30.0,
    unsafe_exec: UnsafeExec = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    log_content: Annotated[bool, typer.Option("--log-content", help="Log messages and answers too.")] = False,
) -> None:
    """Serve architectures and plain models behind an OpenAI-compatible endpoint."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise MissingExtraError("archon serve", "proxy") from None
    from archon.cli_keys import VARIABLE
    from archon.proxy.keys import default_store
    from archon.proxy.settings import Settings

    settings = Settings(
        files=tuple(path.resolve() for path in files),
        models=models.resolve() if models else None,
        host=host,
        cache=cache,
        store=store or os.environ.get(VARIABLE) or default_store(),
        deadline=deadline,
        drain=drain,
        unsafe_exec=unsafe_exec,
        log_content=log_content,
        log_level=log_level,
    )
    _serve(settings, port, workers)


def _serve(settings: Settings, port: int, workers: int) -> None:
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from archon.proxy import logs
    from archon.proxy.app import SETTINGS, create_app, for_workers, settled
    from archon.proxy.shared_metrics import shared_folder

    logs.configure(settings.log_level)
    listening = _listening(settings.host, port)
    app = settled(create_app(settings))  # also where workers make their own: what is wrong is told before they start
    services = app.state.services
    _greet(settings, listening.getsockname()[1], [each.id for each in services.catalogue], services.open_to_all)
    os.environ[SETTINGS] = for_workers(settings)
    config = uvicorn.Config(
        app if workers == 1 else "archon.proxy.app:app_from_environ",
        factory=workers > 1,
        workers=workers,
        http="archon.proxy.timed_http:TimedProtocol",  # a path, since workers cannot be sent a class
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.drain),
    )
    server = uvicorn.Server(config)
    if workers > 1:
        with shared_folder():
            Multiprocess(config, sockets=[listening]).run()
    else:
        server.run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host.strip("[]"), port))
    except OSError as error:
        listening.close()
        raise ConfigError(f"cannot listen on {host}:{port} ({error.strerror}); choose another with --port") from None
    listening.listen(2048)
    listening.set_inheritable(True)
    return listening


def _greet(settings: Settings, port: int, served: list[str], open_to_all: bool) -> None:
    door = "no key is asked for, loopback only" if open_to_all else "a key is asked for"
    print(f"archon: http://{settings.host}:{port}/v1 serves {', '.join(served)} ({door})", file=sys.stderr, flush=True)
