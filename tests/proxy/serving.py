"""A real server on loopback, in a thread with its own event loop, for tests that speak to it as clients do."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn
import yaml

from archon.proxy.app import create_app
from archon.proxy.services import Services
from archon.proxy.settings import Settings
from archon.types import Request

Json = dict[str, Any]


class Serving:
    """`create_app(settings)` behind a port.

    with Serving(settings) as server:
        OpenAI(base_url=server.url, api_key="none")

    Args:
        drain: seconds that requests under way have when it stops.
    """

    def __init__(self, settings: Settings, drain: int = 30) -> None:
        self.app = create_app(settings)
        config = uvicorn.Config(self.app, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=drain)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="proxy", daemon=True)
        self.port = 0

    @property
    def services(self) -> Services:
        """What the app hangs on."""
        found: Services = self.app.state.services
        return found

    @property
    def url(self) -> str:
        """Base URL, up to and including /v1."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def root(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Serving:
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the server did not start"
            self._thread.join(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(90)  # a bound against hanging: a busy machine may take its time
        assert not self._thread.is_alive(), "the server did not stop"

    def stop(self) -> None:
        """Asks the server to stop, as SIGTERM does."""
        self._server.should_exit = True


def system(
    folder: Path, name: str, nodes: Sequence[Json], models: Sequence[Json], *, extractor: str = "number"
) -> Path:
    """A system file; the last node is the output."""
    architecture = {"name": name, "nodes": list(nodes), "output": nodes[-1]["id"]}
    path = folder / f"{name}.yaml"
    content = {"architecture": architecture, "models": list(models), "extractor": extractor}
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def upstream(endpoint: str, model: str = "m", **more: Any) -> Json:
    """A row of an OpenAI-compatible model with a price of 1 and 2 dollars per million tokens, and no retries."""
    row = {"id": model, "endpoint": endpoint, "price": {"prompt": 1.0, "completion": 2.0}, "retries": 0}
    return {**row, **more}


def fake(model: str, answers: Any = None, **options: Any) -> Json:
    """A row of a scripted model; free."""
    given = {"answers": answers, **options} if answers is not None else options
    return {
        "id": model,
        "client": "fake",
        "price": {"prompt": 0.0, "completion": 0.0},
        "retries": 0,
        "options": given,
    }


def fused(model: str = "m", samples: int = 3, **params: Any) -> list[Json]:
    """Generators and a fuser of one model."""
    return [
        {"id": "drafts", "layer": "generator", "model": model, "params": {"samples": samples}},
        {"id": "fused", "layer": "fuser", "model": model, "params": params, "inputs": ["drafts"]},
    ]


def voted(model: str = "m", samples: int = 3) -> list[Json]:
    """Generators and a vote."""
    return [
        {"id": "drafts", "layer": "generator", "model": model, "params": {"samples": samples}},
        {"id": "vote", "layer": "vote", "inputs": ["drafts"]},
    ]


def breakdown(nodes: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Calls by node, of an answer's `archon` object."""
    return {node["id"]: node["calls"] for node in nodes}


def by_seed(request: Request) -> str:
    """A scripted answer that shows its seed."""
    return f"seed {request.seed}"
