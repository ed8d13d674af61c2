"""Reads the list-of-lists JSON of the original Archon configs: {"name", "layers": [[{"type", "model", …}]]}.

Every component of a layer receives all candidates of the layer before. Keys the original ignores are ignored here
too, with a warning; the misspelt `length_contorl` of some published files is read as `length_control`, with a warning.
Where a file breaks a construction rule (the original enforces none) the rule is lifted, with a warning. The answer is
the first candidate of the last layer, as the paper says (the original code drew one at random).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from archon import graph, registry
from archon.architecture import Architecture, Node
from archon.errors import ArchitectureError, UnknownNameError
from archon.models import ModelSpec, ModelTable

_RENAMED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "ranker": {"top_k": "keep"},
        "unit_test_generator": {"unit_test_cap": "cap"},
        "unit_test_evaluator": {"top_k": "keep", "remove_unit_tests_from_prompt": "remove_tests"},
    }
)
"""The original's keys that we call otherwise (`top_k` means sampling here)."""

_COMMON = frozenset({"type", "model", "model_type"})
_WITHOUT_EFFECT = frozenset({"top_k", "checkpoint", "no_system", "batch_num", "ranker_batch_size"})
"""Keys that change nothing: the original reads them nowhere, or for its own ranking model alone."""

_PROVIDERS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "OpenAI_API": {"client": "openai", "endpoint": "https://api.openai.com/v1", "key_env": "OPENAI_API_KEY"},
        "Together_API": {"client": "openai", "endpoint": "https://api.together.xyz/v1", "key_env": "TOGETHER_API_KEY"},
        "Groq_API": {"client": "openai", "endpoint": "https://api.groq.com/openai/v1", "key_env": "GROQ_API_KEY"},
        "Anthropic_API": {"client": "litellm", "prefix": "anthropic/", "key_env": "ANTHROPIC_API_KEY"},
        "Google_API": {"client": "litellm", "prefix": "gemini/", "key_env": "GEMINI_API_KEY"},
        "Bedrock_API": {"client": "litellm", "prefix": "bedrock/"},
        "vLLM": {"client": "openai", "endpoint": "http://localhost:8000/v1"},
        "tgi": {"client": "openai", "endpoint": "http://localhost:8080/v1"},
    }
)
"""The original's `model_type` and where it leads."""


def read(raw: Mapping[str, Any], where: str) -> tuple[Architecture, ModelTable, tuple[str, ...]]:
    """The architecture, its models, and the warnings.

    Raises:
        ArchitectureError: not of the form, naming the layer and the component.
    """
    reader = _Reader(where)
    return reader.read(raw)


class _Reader:
    """Collects nodes, models and warnings of one file."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.nodes: list[Node] = []
        self.specs: dict[str, ModelSpec] = {}
        self.warnings: list[str] = []

    def read(self, raw: Mapping[str, Any]) -> tuple[Architecture, ModelTable, tuple[str, ...]]:
        """The whole file."""
        for key in raw:
            if key not in ("name", "layers", "custom"):
                self._warn(f"{key!r} has no meaning and is ignored")
        layers = raw["layers"]
        if not isinstance(layers, list) or not layers:
            raise ArchitectureError(f"{self.where}: `layers` must be a list with at least one layer")
        before: tuple[str, ...] = ()
        for index, layer in enumerate(layers):
            before = self._layer(layer, index, before, last=index + 1 == len(layers))
        architecture = Architecture(name=_name(raw), nodes=tuple(self.nodes), output=before[0])
        return self._lifted(architecture), ModelTable(self.specs.values()), tuple(self.warnings)

    def _layer(self, layer: object, index: int, before: tuple[str, ...], last: bool) -> tuple[str, ...]:
        components = layer.get("models") if isinstance(layer, Mapping) else layer
        if not isinstance(components, list) or not components:
            raise ArchitectureError(f"{self.where}: layers[{index}] must be a list of components")
        if last and len(components) > 1:
            self._warn(f"layers[{index}] ends the system with {len(components)} components; the first one answers")
            components = components[:1]
        return tuple(
            self._component(component, f"layers[{index}][{place}]", f"{index}.{place}", before)
            for place, component in enumerate(components)
        )

    def _component(self, raw: object, place: str, suffix: str, inputs: tuple[str, ...]) -> str:
        if not isinstance(raw, Mapping):
            raise ArchitectureError(f"{self.where}: {place} must be a mapping, got {type(raw).__name__}")
        layer = raw.get("type", "generator")
        if layer not in registry.layer_names():
            raise ArchitectureError(
                f"{self.where}: {place}: {UnknownNameError('type', str(layer), registry.layer_names())}"
            )
        node = Node(
            id=f"{layer}_{suffix}",
            layer=layer,
            model=self._model(raw, place),
            params=self._params(raw, layer, place),
            inputs=inputs,
        )
        self.nodes.append(node)
        return node.id

    def _params(self, raw: Mapping[str, Any], layer: str, place: str) -> dict[str, Any]:
        known = registry.parameters(layer)
        params: dict[str, Any] = {}
        for key, value in raw.items():
            if key in _COMMON:
                continue
            name = _RENAMED.get(layer, {}).get(key, key)
            if key == "length_contorl":
                self._warn(f"{place}: 'length_contorl' is misspelt; read as 'length_control'")
                name = "length_control"
            if name in known:
                params[name] = value
            elif key in _WITHOUT_EFFECT:
                self._warn(f"{place}: {key!r} has no effect on a {layer}")
            elif not (name == "samples" and value == 1):
                self._warn(f"{place}: unknown key {key!r} is ignored")
        return params

    def _model(self, raw: Mapping[str, Any], place: str) -> str:
        model, provider = raw.get("model"), raw.get("model_type", "Together_API")
        if not isinstance(model, str) or not model:
            raise ArchitectureError(f"{self.where}: {place}: `model` is missing")
        if not isinstance(provider, str) or provider not in _PROVIDERS:
            raise ArchitectureError(
                f"{self.where}: {place}: {UnknownNameError('model_type', str(provider), _PROVIDERS)}"
            )
        facts = dict(_PROVIDERS[provider])
        prefix = facts.pop("prefix", "")
        spec = ModelSpec.model_validate({"id": model, "name": f"{prefix}{model}" if prefix else None, **facts})
        if self.specs.setdefault(model, spec) != spec:
            raise ArchitectureError(f"{self.where}: {place}: {model!r} is reached by two providers; name one")
        return model

    def _lifted(self, architecture: Architecture) -> Architecture:
        """Lifts the rules the file breaks."""
        while broken := _broken_rule(architecture):
            rule, message = broken
            self._warn(f"rule {rule} is lifted: {message}")
            architecture = architecture.model_copy(update={"lift": (*architecture.lift, rule)})
        return architecture

    def _warn(self, message: str) -> None:
        self.warnings.append(f"{self.where}: {message}")


def _broken_rule(architecture: Architecture) -> tuple[str, str] | None:
    return graph.broken_rule(architecture.canonical_nodes, architecture.lift)


def _name(raw: Mapping[str, Any]) -> str | None:
    name = raw.get("name")
    return str(name) if name is not None else None
