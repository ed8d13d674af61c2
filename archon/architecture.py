"""The architecture of a system as data: a DAG of layers, in YAML or JSON, with a canonical form and a stable hash.

This file says what an architecture *is*; `archon.graph` says whether it can be built and what it will do,
`archon.reference` reads the list-of-lists JSON of the original Archon configs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from archon import canonical
from archon.errors import ArchitectureError
from archon.models import one_line, read_yaml
from archon.types import stable_hash

Rule = Literal[
    "one_kind_per_stage", "generators_first", "critic_before", "alone", "fusers_not_first", "tests_then_evaluator"
]
"""Names of the construction rules; `archon.graph` states them."""


class Node(BaseModel):
    """One layer of a system."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=100)
    layer: str
    """Short name or dotted path."""
    model: str | dict[str, str] | None = None
    """A model id, or ids by role for a layer with several (`model`, `aggregator`, `judge`)."""
    params: dict[str, Any] = Field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    """Ids of the nodes whose candidates it receives, in order; none for a root."""

    @property
    def models(self) -> dict[str, str]:
        """Model ids by the name of the layer's parameter."""
        if self.model is None:
            return {}
        return {"model": self.model} if isinstance(self.model, str) else dict(self.model)

    @property
    def arguments(self) -> dict[str, Any]:
        """All that the layer class is built from."""
        return {**self.params, **self.models}

    def to_dict(self) -> dict[str, Any]:
        """Plain data, empty fields left out."""
        return self.model_dump(mode="json", exclude_defaults=True)


class Architecture(BaseModel):
    """A directed acyclic graph of layers with one output node."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    """For people; not part of the identity."""
    nodes: tuple[Node, ...] = Field(min_length=1)
    output: str
    """Id of the node whose first candidate is the answer."""
    lift: tuple[Rule, ...] = ()
    """Construction rules that do not hold for this architecture."""

    @cached_property
    def canonical_nodes(self) -> tuple[canonical.CanonicalNode, ...]:
        """The nodes as they are run. Raises ArchitectureError when they make no acyclic graph of known layers."""
        return canonical.nodes(self.nodes, self.output)

    @property
    def canonical_form(self) -> dict[str, Any]:
        """Plain data that is equal for two spellings of one system. See `archon.canonical`."""
        return canonical.form(self.canonical_nodes, self.output)

    @cached_property
    def hash(self) -> str:
        """16 hex digits of SHA-256 over the canonical form; the same in every process."""
        return stable_hash(self.canonical_form)

    @property
    def model_ids(self) -> tuple[str, ...]:
        """Every model named by a node, once each, in order of appearance."""
        return tuple(dict.fromkeys(model for node in self.nodes for model in node.models.values()))

    def node(self, node_id: str) -> Node:
        """The node of that id."""
        return self._by_id[node_id]

    @cached_property
    def _by_id(self) -> dict[str, Node]:
        return {node.id: node for node in self.nodes}

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `from_dict` reads back to an equal value."""
        head = {"name": self.name} if self.name else {}
        tail = {"lift": list(self.lift)} if self.lift else {}
        return {**head, "nodes": [node.to_dict() for node in self.nodes], "output": self.output, **tail}

    def to_yaml(self) -> str:
        """The YAML form."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    def to_json(self) -> str:
        """The JSON form."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    @classmethod
    def from_dict(cls, raw: object, where: str = "architecture") -> Architecture:
        """Reads plain data. The graph is checked by `archon.graph.check`, not here.

        Raises:
            ArchitectureError: an unknown key, a missing field or a wrong type, naming the place.
        """
        if not isinstance(raw, Mapping):
            raise ArchitectureError(f"{where}: a mapping with `nodes` and `output` is needed, got {type(raw).__name__}")
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise ArchitectureError(f"{where}: {one_line(error)}") from None


def read_raw(path: Path) -> Any:
    """The plain data of an architecture file: `.json` as JSON, anything else as YAML."""
    if path.suffix != ".json":
        return read_yaml(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArchitectureError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise ArchitectureError(f"{path}: line {error.lineno}: not valid JSON ({error.msg})") from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise ArchitectureError(f"{path}: cannot be read ({error})") from None
