"""Composition in Python: `a | b` puts parts side by side, `a >> b` feeds one into the next.

    (Generator("m", samples=5) | Generator("n")) >> Critic("m") >> Ranker("m", keep=3) >> Fuser("n")

A part is a value: composing makes a new one. One object is one node wherever it stands, so a skip edge is written by
using a part twice: `draft = Generator("m"); (draft | draft >> Critic("m") >> Fuser("m")) >> Vote()`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archon import registry
from archon.architecture import Architecture, Node, Rule
from archon.errors import ArchitectureError


@dataclass(frozen=True, eq=False)
class _Step:
    """One node before it has its inputs; compared by identity."""

    layer: str
    model: str | dict[str, str] | None
    params: Mapping[str, Any]
    id: str | None


@dataclass(frozen=True, eq=False)
class Part:
    """A piece of an architecture: steps with their inputs, and the steps whose candidates leave it."""

    inputs: Mapping[_Step, tuple[_Step, ...]]
    leaves: tuple[_Step, ...]

    def __or__(self, other: Part) -> Part:
        """Side by side: the candidates of both."""
        _must_be_part(other, "|")
        if set(self.inputs) == set(other.inputs):
            raise ArchitectureError("a part stands beside itself; raise `samples` or make a second part")
        leaves = dict.fromkeys((*self.leaves, *other.leaves))
        return Part(_united(self.inputs, other.inputs), tuple(leaves))

    def __rshift__(self, other: Part) -> Part:
        """One after the other: what leaves this part enters every open step of `other`."""
        _must_be_part(other, ">>")
        fed = {
            step: (inputs or self.leaves) if step not in self.inputs else inputs
            for step, inputs in other.inputs.items()
        }
        return Part(_united(self.inputs, fed), other.leaves)

    def architecture(self, name: str | None = None, lift: tuple[Rule, ...] = ()) -> Architecture:
        """The closed graph. Raises ArchitectureError unless exactly one step is left at the end."""
        ids = self._ids()
        if len(self.leaves) != 1:
            raise ArchitectureError(
                f"the system ends in {len(self.leaves)} nodes ({', '.join(ids[leaf] for leaf in self.leaves)}); "
                "end it with one, for example >> Fuser(...) or >> Vote()"
            )
        nodes = [
            Node(
                id=ids[step],
                layer=step.layer,
                model=step.model,
                params=dict(step.params),
                inputs=tuple(ids[source] for source in inputs),
            )
            for step, inputs in self.inputs.items()
        ]
        return Architecture(name=name, nodes=tuple(nodes), output=ids[self.leaves[0]], lift=lift)

    def _ids(self) -> dict[_Step, str]:
        taken = {step.id for step in self.inputs if step.id}
        ids: dict[_Step, str] = {}
        for step in self.inputs:
            ids[step] = step.id or _free(step.layer.rpartition(":")[2].lower(), taken)
            taken.add(ids[step])
        return ids


@dataclass(frozen=True)
class Builder:
    """Makes parts of one layer: `Generator("model", samples=5)`."""

    layer: str
    roles: tuple[str, ...] = field(default=("model",))
    """Names of the layer's model parameters; the first may be given by position."""

    def __call__(self, model: str | None = None, /, *, id: str | None = None, **params: Any) -> Part:
        """A part of one node.

        Args:
            model: id of the (first) model, for a layer that calls one.
            id: the node's id; default: the layer's name, numbered.
            params: the layer's parameters and further models by role.
        """
        models = {role: params.pop(role) for role in self.roles if role in params}
        if model is not None:
            if not self.roles:
                raise ArchitectureError(f"layer {self.layer!r} calls no model; leave {model!r} out")
            if self.roles[0] in models:
                raise ArchitectureError(f"layer {self.layer!r}: its {self.roles[0]} is given twice; keep one")
            models = {self.roles[0]: model, **models}
        named: str | dict[str, str] | None = models or None
        if list(models) == ["model"]:
            named = models["model"]
        step = _Step(self.layer, named, params, id)
        registry.build_layer(self.layer, {**params, **models})
        return Part({step: ()}, (step,))


def node(layer: str, model: str | None = None, /, *, id: str | None = None, **params: Any) -> Part:
    """A part of one node of any layer, by short name, entry point or dotted path."""
    return builder(layer)(model, id=id, **params)


def builder(layer: str) -> Builder:
    """The builder of a layer."""
    return Builder(layer, registry.layer_class(layer).traits.models)


def _united(
    first: Mapping[_Step, tuple[_Step, ...]], second: Mapping[_Step, tuple[_Step, ...]]
) -> dict[_Step, tuple[_Step, ...]]:
    """Both maps; a step that stands in both gets the inputs of both."""
    result = dict(first)
    for step, inputs in second.items():
        result[step] = tuple(dict.fromkeys((*result.get(step, ()), *inputs)))
    return result


def _free(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    return next(f"{name}_{n}" for n in range(2, len(taken) + 3) if f"{name}_{n}" not in taken)


def _must_be_part(other: object, operator: str) -> None:
    if not isinstance(other, Part):
        raise ArchitectureError(f"{operator} joins parts such as Generator(...), got {type(other).__name__}")
