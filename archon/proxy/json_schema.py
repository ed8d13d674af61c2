"""JSON Schemas (draft 2020-12) that strangers send: read, and refused where checking an answer could take for ever.

A reference must lead to a place within the schema. Regular expressions are refused, since one of a stranger's can take
exponential time; so is every keyword that would otherwise be ignored silently. What is read here needs no further care:
`archon.proxy.json_schema_check` relies on the shapes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from archon.proxy.errors import ApiError, invalid
from archon.proxy.json_values import loads

Schema = dict[str, Any] | bool

MOST_TEXT = 1_000_000
"""Characters of a schema."""
MOST = 10_000
"""Subschemas of one schema, and of what applies to one value once references are followed."""
DEEPEST = 32
"""Subschemas within one another that apply to the same value."""
TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")

_AGAIN = ("not", "if", "then", "else")
"""Keywords whose subschema applies to the same value …"""
_AGAIN_LIST = ("allOf", "anyOf", "oneOf")
_AGAIN_MAP = ("dependentSchemas",)
_INNER = ("items", "contains", "additionalProperties", "propertyNames")
"""… and to what is in it."""
_INNER_LIST = ("prefixItems",)
_INNER_MAP = ("properties", "$defs", "definitions")

_REGEX = "regular expressions are not tried on answers"
_LOCAL = "references lead from $ref to a place within the schema"
_OLDER = "it is of an older draft than 2020-12"
REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "pattern": _REGEX,
        "patternProperties": _REGEX,
        "$dynamicRef": _LOCAL,
        "$dynamicAnchor": _LOCAL,
        "$recursiveRef": _LOCAL,
        "$recursiveAnchor": _LOCAL,
        "unevaluatedItems": "use items",
        "unevaluatedProperties": "use additionalProperties",
        "additionalItems": _OLDER,
        "dependencies": _OLDER,
    }
)
"""Keywords that are refused, with the reason."""


@dataclass(frozen=True, slots=True)
class Form:
    """A schema that may be used.

    Attributes:
        targets: what each `$ref` leads to.
    """

    root: Schema
    targets: Mapping[str, Schema]


def read_form(given: Mapping[str, Any]) -> Form:
    """The schema. Raises ApiError 400 where it is none, or one that is not taken."""
    try:
        text = json.dumps(given)
        if len(text) > MOST_TEXT:
            raise _refused(f"it is longer than {MOST_TEXT:,} characters")
        root: Schema = loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(f"it is not JSON ({str(error)[:80]})") from None
    return Form(root, _Reader(root).targets)


class _Reader:
    """Goes through all subschemas once, then follows those that apply to one value."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self.targets: dict[str, Schema] = {}
        self._again: dict[int, list[Schema]] = {}
        self._weights: dict[int, tuple[int, int]] = {}
        nodes = list(self._nodes())
        for node in nodes:
            self._weigh(node, 0)

    def _nodes(self) -> Iterator[dict[str, Any]]:
        waiting: list[object] = [self._root]
        while waiting:
            node = waiting.pop()
            if isinstance(node, bool) or id(node) in self._again:
                continue
            if not isinstance(node, dict):
                raise _refused(f"a subschema must be an object or a boolean, got {json.dumps(node)[:50]}")
            if len(self._again) >= MOST:
                raise _refused(f"it holds more than {MOST:,} subschemas")
            waiting += self._parts(node)
            yield node

    def _parts(self, node: dict[str, Any]) -> list[Any]:
        """All subschemas of one. Raises ApiError where a keyword has a wrong value or is refused."""
        for name, value in node.items():
            _check(name, value)
        if "$id" in node and node is not self._root:
            raise _refused(f"$id: {_LOCAL}, so it may stand at the top alone")
        again = _subschemas(node, _AGAIN, _AGAIN_LIST, _AGAIN_MAP)
        if "$ref" in node:
            again.append(self._target(node["$ref"]))
        self._again[id(node)] = again
        return again + _subschemas(node, _INNER, _INNER_LIST, _INNER_MAP)

    def _target(self, reference: str) -> Schema:
        if reference not in self.targets:
            self.targets[reference] = self._found(reference)
        return self.targets[reference]

    def _found(self, reference: str) -> Any:
        found: Any = self._root
        head, *steps = unquote(reference).split("/")
        try:
            for step in steps:
                name = step.replace("~1", "/").replace("~0", "~")
                found = found[int(name)] if isinstance(found, list) else found[name]
        except (KeyError, IndexError, ValueError, TypeError):
            found = None
        if head != "#" or not isinstance(found, dict | bool):
            raise _refused(f"$ref {reference[:80]!r} leads to no subschema: only '#' and '#/…' within the schema do")
        return found

    def _weigh(self, node: Schema, above: int) -> tuple[int, int]:
        """How many subschemas apply to one value where this one does, and how many of them within one another."""
        if isinstance(node, bool):
            return 1, 1
        if (known := self._weights.get(id(node))) is not None:
            return known
        parts = [self._weigh(each, above + 1) for each in self._again[id(node)]] if above < DEEPEST else None
        count = 1 + sum(each for each, _ in parts or ())
        depth = 1 + max((each for _, each in parts or ()), default=0)
        if parts is None or depth > DEEPEST:
            raise _refused(f"$ref: a subschema leads back to itself, or through more than {DEEPEST} others")
        if count > MOST:
            raise _refused(f"$ref: more than {MOST:,} subschemas apply to one value")
        self._weights[id(node)] = count, depth
        return count, depth


def _subschemas(
    node: Mapping[str, Any], single: tuple[str, ...], lists: tuple[str, ...], maps: tuple[str, ...]
) -> list[Any]:
    found = [node[name] for name in single if name in node]
    found += [each for name in lists for each in node.get(name, ())]
    return found + [each for name in maps for each in node.get(name, {}).values()]


def _check(name: str, value: object) -> None:
    """Raises ApiError where a keyword is refused, or its value has not the shape that it must have."""
    if name in REFUSED:
        raise _refused(f"{name}: {REFUSED[name]}")
    if name in _SHAPES:
        holds, wanted = _SHAPES[name]
        if not holds(value):
            raise _refused(f"{name}: it must be {wanted}")


def _refused(why: str) -> ApiError:
    return invalid(f"response_format: the schema is not taken: {why}", "response_format", "invalid_value")


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _types(value: object) -> bool:
    return all(each in TYPES for each in value) and bool(value) if isinstance(value, list) else value in TYPES


_Shape = tuple[Callable[[Any], bool], str]


def _shapes() -> Iterator[tuple[str, _Shape]]:
    for name in ("maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"):
        yield name, (_number, "a number")
    for bounded in ("Length", "Items", "Properties", "Contains"):
        yield f"min{bounded}", (_count, "an integer from 0")
        yield f"max{bounded}", (_count, "an integer from 0")
    for name in (*_AGAIN_LIST, *_INNER_LIST):
        yield name, (lambda value: isinstance(value, list) and bool(value), "a list of subschemas")
    for name in (*_AGAIN_MAP, *_INNER_MAP):
        yield name, (lambda value: isinstance(value, dict), "an object of subschemas")
    yield "multipleOf", (lambda value: _number(value) and value > 0, "a number above 0")
    yield "required", (_texts, "a list of names")
    yield "dependentRequired", (lambda value: isinstance(value, dict) and all(map(_texts, value.values())), "lists")
    yield "type", (_types, f"one or several of {', '.join(TYPES)}")
    yield "enum", (lambda value: isinstance(value, list), "a list")
    yield "uniqueItems", (lambda value: isinstance(value, bool), "a boolean")
    yield "$ref", (lambda value: isinstance(value, str), "a text")


_SHAPES: Mapping[str, _Shape] = MappingProxyType(dict(_shapes()))
