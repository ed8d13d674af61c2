"""Short names of layers, clients, prompt packs and benchmarks, and the classes behind them.

A table of name → "module:Attribute", an entry-point group a kind for outsiders, and dotted paths accepted wherever a
name is. Nothing is imported before it is used. To add a layer of ours: one file in `layers/` and one row here; a third
party declares an entry point in the group `archon.layers` or is named by its dotted path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from archon.errors import ArchitectureError, ConfigError, UnknownNameError
from archon.protocols import Layer, Traits

Kind = str
"""layers, clients, packs or benchmarks: the last part of the entry-point group's name."""

_TABLES: Mapping[Kind, Mapping[str, str]] = MappingProxyType(
    {
        "layers": {
            "generator": "layers.generator:Generator",
            "fuser": "layers.fuser:Fuser",
            "ranker": "layers.ranker:Ranker",
            "critic": "layers.critic:Critic",
            "verifier": "layers.verifier:Verifier",
            "unit_test_generator": "layers.unit_test_generator:UnitTestGenerator",
            "example_tests": "layers.example_tests:ExampleTests",
            "unit_test_evaluator": "layers.unit_test_evaluator:UnitTestEvaluator",
            "vote": "layers.vote:Vote",
            "self_moa_seq": "layers.self_moa_seq:SelfMoaSeq",
        },
        "clients": {
            "openai": "archon.clients.openai:OpenAIClient",
            "litellm": "archon.clients.litellm:LiteLLMClient",
            "local": "archon.clients.local:LocalClient",
            "replay": "archon.clients.replay:ReplayClient",
            "fake": "archon.clients.fake:FakeClient",
        },
        "packs": {
            "english": "archon.prompts:EnglishPack",
            "zoo": "archon.zoo.pack:ZooPack",
        },
        "benchmarks": {
            "ledger": "archon.evals.benchmarks.ledger:Ledger",
            "gsm8k": "archon.evals.benchmarks.gsm8k:Gsm8k",
            "math": "archon.evals.benchmarks.math:Math",
            "jsonl": "archon.evals.benchmarks.jsonl:Jsonl",
            "humaneval": "archon.evals.benchmarks.functions:HumanEval",
            "mbpp": "archon.evals.benchmarks.functions:Mbpp",
            "minicode": "archon.evals.benchmarks.minicode:Minicode",
        },
    }
)


def names(kind: Kind) -> tuple[str, ...]:
    """Every short name of a kind: ours, then those of installed entry points."""
    return (*_TABLES[kind], *(name for name in _outside(kind) if name not in _TABLES[kind]))


def resolve(kind: Kind, name: str) -> Any:
    """The class behind a short name or a dotted path "package.module:Class".

    Raises:
        UnknownNameError: no such name; lists the known ones.
        ConfigError: the dotted path cannot be imported.
    """
    path = _TABLES[kind].get(name) or _outside(kind).get(name) or (name if _is_path(name) else None)
    if path is None:
        raise UnknownNameError(kind.rstrip("s"), name, names(kind), 'Or give a dotted path "package.module:Class".')
    return _load(kind, name, path)


def short_name(kind: Kind, name: str) -> str:
    """The short name of what a dotted path of our own names; any other name as it is."""
    return next((short for short, path in _TABLES[kind].items() if path == name), name)


def layer_names() -> tuple[str, ...]:
    """Short names of all layers."""
    return names("layers")


def layer_class(name: str) -> type[Layer]:
    """The class of a layer. Raises ArchitectureError when what is found is not a layer."""
    found = resolve("layers", name)
    if not isinstance(getattr(found, "traits", None), Traits):
        raise ArchitectureError(f"layer {name!r}: {found!r} has no `traits`; a layer is a frozen dataclass with traits")
    return found  # type: ignore[no-any-return]


def build_layer(name: str, params: Mapping[str, Any]) -> Layer:
    """A layer with validated parameters.

    Raises:
        ArchitectureError: an unknown, missing or ill-typed parameter, in one line that lists what the layer takes.
    """
    adapter = _adapter(layer_class(name))
    try:
        return adapter.validate_python(dict(params))
    except ValidationError as error:
        raise ArchitectureError(f"layer {name!r}: {_explained(error, parameters(name))}") from None


def parameters(name: str) -> dict[str, Any]:
    """A layer's parameters with their defaults; `...` marks those that must be given."""
    found: dict[str, Any] = {}
    for spec in fields(layer_class(name)):  # type: ignore[arg-type]
        if spec.default_factory is not MISSING:
            found[spec.name] = spec.default_factory()
        else:
            found[spec.name] = ... if spec.default is MISSING else spec.default
    return found


def client_class(name: str) -> Any:
    """The class of a client; it has `from_spec(ModelSpec)`."""
    return resolve("clients", name)


def pack_class(name: str) -> Any:
    """The class of a prompt pack; it is built with the quoting secret."""
    return resolve("packs", name)


def benchmark_class(name: str) -> Any:
    """The class of a benchmark; it has `load(**options)`. Names joined by `+` are a mixture of several."""
    if "+" in name:
        mixture = import_module("archon.evals.benchmarks.mixed").Mixture
        return mixture({part: resolve("benchmarks", part) for part in name.split("+")})
    return resolve("benchmarks", name)


@cache
def _adapter(cls: type[Layer]) -> TypeAdapter[Layer]:
    config = ConfigDict(extra="forbid", strict=False, arbitrary_types_allowed=False)
    if not hasattr(cls, "__pydantic_config__"):
        cls.__pydantic_config__ = config  # type: ignore[attr-defined]
    return TypeAdapter(cls)


def _is_path(name: str) -> bool:
    module, _, attribute = name.partition(":")
    return "." in module and attribute.isidentifier()


@cache
def _outside(kind: Kind) -> Mapping[str, str]:
    return {point.name: point.value for point in entry_points(group=f"archon.{kind}")}


def _load(kind: Kind, name: str, path: str) -> Any:
    module, _, attribute = path.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{kind.rstrip('s')} {name!r}: module {error.name!r} cannot be imported") from error
    except AttributeError:
        raise ConfigError(f"{kind.rstrip('s')} {name!r}: module {module!r} has no {attribute!r}") from None


def _explained(error: ValidationError, taken: Mapping[str, Any]) -> str:
    parts = []
    for item in error.errors(include_url=False):
        key = str(item["loc"][0]) if item["loc"] else "parameters"
        if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            parts.append(str(UnknownNameError("parameter", key, taken)))
        elif item["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
            parts.append(f"parameter {key!r} is missing")
        else:
            parts.append(f"parameter {key!r}: {item['msg']}, got {item.get('input')!r:.80}")
    return "; ".join(parts)
