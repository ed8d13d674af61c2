"""What a server serves: architectures from files and the plain models of their tables, one client stack for all.

A catalogue never changes. Reloading makes another one and puts it in the place of the first, which goes on until the
last request that uses it has ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from archon import system_file
from archon.architecture import Architecture, Node
from archon.clients.cache import CacheStore
from archon.clients.openai import OpenAIClient
from archon.clients.stack import ClientStack
from archon.default_models import with_defaults
from archon.errors import ConfigError
from archon.graph import Graph, GraphPlan, check, plan, writers
from archon.models import ModelTable
from archon.proxy.errors import ApiError
from archon.proxy.settings import Settings

PREFIX = "archon/"
CACHE_FILE = "calls.sqlite"


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """One model of the server."""

    id: str
    graph: Graph
    plan: GraphPlan
    writers: frozenset[str]
    extractor: str = "number"
    facts: Mapping[str, Any] = field(default_factory=dict)
    plain: str | None = None
    """The model of the table that this is, where it is no architecture."""
    transport: OpenAIClient | None = None
    """Where a plain model's requests are passed through to; None = it is run as a graph of one node."""

    @property
    def answering(self) -> tuple[str, ...]:
        """The models that write answers: generators and fusers, once each."""
        nodes = [node for node in self.graph.nodes if node.layer.traits.kind in ("generator", "fuser")]
        return tuple(dict.fromkeys(model for node in nodes for model in _models(node)))

    @property
    def final(self) -> tuple[str, ...]:
        """The models that write the final answer, once each."""
        nodes = [node for node in self.graph.nodes if node.id in self.writers]
        return tuple(dict.fromkeys(model for node in nodes for model in _models(node)))


class Catalogue:
    """All that is served, by id."""

    def __init__(self, served: Mapping[str, Served], stack: ClientStack) -> None:
        self._served = dict(served)
        self.stack = stack
        self.ids = frozenset(self._served) | frozenset(
            model for each in served.values() for model in each.graph.architecture.model_ids
        )
        self.created = int(time.time())
        self._leases = 0
        self._retired = False

    def __iter__(self) -> Iterator[Served]:
        return iter(self._served.values())

    def __getitem__(self, model: object) -> Served:
        found = self._served.get(model) if isinstance(model, str) else None
        if found is None:
            raise self._unknown(model)
        return found

    def __enter__(self) -> Catalogue:
        """Keeps the connections open while a request uses them."""
        self._leases += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._leases -= 1

    @property
    def idle(self) -> bool:
        """Whether no request uses it."""
        return self._leases == 0

    def _unknown(self, model: object) -> ApiError:
        if not isinstance(model, str):
            return ApiError(400, "model: it is required, as text", param="model", code="missing_required_parameter")
        near = get_close_matches(model, self._served, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; GET /v1/models lists what is served"
        return ApiError(404, f"there is no model {model[:100]!r}{hint}", param="model", code="model_not_found")


def load(settings: Settings) -> Catalogue:
    """Reads every file and builds every client, so that what is wrong is told now.

    Raises:
        ConfigError: a file, a name, a model or a key is wrong.
    """
    files = [(path, system_file.load(path)) for path in settings.files]
    extra = ModelTable.load(settings.models) if settings.models else ModelTable()
    table = ModelTable(extra.values())
    for path, found in files:
        rows = found.models.merged(extra)
        table = _joined(table, with_defaults(rows, [*rows, *found.architecture.model_ids]), str(path))
    store = CacheStore(settings.cache / CACHE_FILE) if settings.cache else None
    stack = ClientStack(table, cache=store)
    served: dict[str, Served] = {}
    for path, found in files:
        name = PREFIX + (found.architecture.name or path.stem)
        if name in served:
            raise ConfigError(f"{path}: {name!r} is served already; give the architecture another `name`")
        served[name] = _architecture(name, found, stack)
    for model in table:
        served.setdefault(model, _plain(model, stack))
    return Catalogue(served, stack)


def _joined(table: ModelTable, more: ModelTable, where: str) -> ModelTable:
    for model in more:
        if model in table and table[model] != more[model]:
            raise ConfigError(
                f"{where}: model {model!r} has other settings in another file; give one row for both with --models"
            )
    return table.merged(more)


def _architecture(name: str, found: system_file.SystemFile, stack: ClientStack) -> Served:
    graph = check(found.architecture)
    for model in found.architecture.model_ids:
        stack.open(model)
    return Served(name, graph, plan(found.architecture), writers(graph), found.extractor, found.facts)


def _plain(model: str, stack: ClientStack) -> Served:
    """A model of the table: passed through where its endpoint speaks OpenAI's API, else a generator alone."""
    node = Node(id="answer", layer="generator", model=model, params={"temperature": None})
    architecture = Architecture(name=model, nodes=(node,), output="answer")
    graph = check(architecture)
    stack.open(model)
    transport = stack.transport(model)
    through = transport if isinstance(transport, OpenAIClient) else None
    return Served(model, graph, plan(architecture), writers(graph), plain=model, transport=through)


def _models(node: Any) -> list[str]:
    named = [node.arguments.get(role) for role in node.layer.traits.models]
    return [str(model) for model in named if model is not None]
