"""Whether a value has the form that a schema asks for, decided in bounded time.

A subschema is tried on a value once, however many ways lead there, and all trying together has a bound. `format` and
`content…` are annotations, as the standard has them, and are not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from archon.proxy.json_schema import Form, Schema
from archon.proxy.json_values import canonical, is_multiple

MOST_STEPS = 500_000
"""Of all checks of one request; one or two seconds."""

Failure = tuple[tuple[str | int, ...], str]
"""Where in a value, and which keyword."""


class TooMuchError(Exception):
    """The checks would take more steps than are left."""


class Steps:
    """How many steps checks may still take, together."""

    def __init__(self, left: int = MOST_STEPS) -> None:
        self._left = left

    def spend(self, steps: int) -> None:
        """Takes some. Raises TooMuchError where none are left."""
        self._left -= steps
        if self._left < 0:
            raise TooMuchError


def failure(form: Form, value: object, steps: Steps) -> Failure | None:
    """The first part of a value that breaks a schema; None = it has the form.

    Args:
        value: as `json_values.loads` reads it.

    Raises:
        TooMuchError, RecursionError: the value is too large, or too deeply nested, to be checked.
    """
    return _Check(form, steps).failure(form.root, value)


class _Check:
    def __init__(self, form: Form, steps: Steps) -> None:
        self._targets = form.targets
        self._known: dict[tuple[int, int], Failure | None] = {}
        self._enums: dict[int, frozenset[str]] = {}
        self.spend = steps.spend

    def failure(self, schema: Schema, value: object) -> Failure | None:
        self.spend(1)
        if isinstance(schema, bool):
            return None if schema else ((), "false")
        key = id(schema), id(value)
        if key not in self._known:
            self._known[key] = self._tried(schema, value)
        return self._known[key]

    def _tried(self, schema: Mapping[str, Any], value: object) -> Failure | None:
        for name, given in schema.items():
            if name in _ASSERTIONS:
                self.spend(1 + _size(given))
                if not _ASSERTIONS[name](self, given, value):
                    return (), name
            elif name in _APPLICATORS:
                self.spend(1 + _size(given) + _size(value))
                if (found := _APPLICATORS[name](self, schema, value)) is not None:
                    return found
        return None

    def has(self, schema: Schema, value: object) -> bool:
        return self.failure(schema, value) is None

    def first(self, parts: Iterable[tuple[str | int, Schema, object]]) -> Failure | None:
        """The first failure among the parts of a value."""
        for step, schema, value in parts:
            if (found := self.failure(schema, value)) is not None:
                return (step, *found[0]), found[1]
        return None

    def target(self, reference: str) -> Schema:
        return self._targets[reference]

    def among(self, given: list[Any], value: object) -> bool:
        if id(given) not in self._enums:
            self._enums[id(given)] = frozenset(self.text(each) for each in given)
        return self.text(value) in self._enums[id(given)]

    def text(self, value: object) -> str:
        found = canonical(value)
        self.spend(len(found) // 100)
        return found


def _size(value: object) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is(kind: str, value: object) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _KINDS[kind])


_KINDS: Mapping[str, Any] = MappingProxyType(
    {
        "null": type(None),
        "boolean": (),
        "integer": int,
        "number": (int, float),
        "string": str,
        "array": list,
        "object": dict,
    }
)


def _of_type(check: _Check, given: str | list[str], value: object) -> bool:
    return any(_is(kind, value) for kind in ([given] if isinstance(given, str) else given))


def _multiple(check: _Check, given: float, value: object) -> bool:
    check.spend(20)  # fractions take that much longer than the other keywords
    return not isinstance(value, int | float) or isinstance(value, bool) or is_multiple(value, given)


def _unique(check: _Check, given: bool, value: object) -> bool:
    if not given or not isinstance(value, list):
        return True
    check.spend(len(value))
    return len({check.text(each) for each in value}) == len(value)


def _dependent_required(check: _Check, given: Mapping[str, list[str]], value: object) -> bool:
    if not isinstance(value, dict):
        return True
    present = [names for name, names in given.items() if name in value]
    check.spend(sum(map(len, present)))
    return all(name in value for names in present for name in names)


_Assertion = Callable[[_Check, Any, Any], bool]
_ASSERTIONS: Mapping[str, _Assertion] = MappingProxyType(
    {
        "type": _of_type,
        "enum": lambda check, given, value: check.among(given, value),
        "const": lambda check, given, value: check.text(given) == check.text(value),
        "multipleOf": _multiple,
        "maximum": lambda _, given, value: not _number(value) or value <= given,
        "exclusiveMaximum": lambda _, given, value: not _number(value) or value < given,
        "minimum": lambda _, given, value: not _number(value) or value >= given,
        "exclusiveMinimum": lambda _, given, value: not _number(value) or value > given,
        "maxLength": lambda _, given, value: not isinstance(value, str) or len(value) <= given,
        "minLength": lambda _, given, value: not isinstance(value, str) or len(value) >= given,
        "maxItems": lambda _, given, value: not isinstance(value, list) or len(value) <= given,
        "minItems": lambda _, given, value: not isinstance(value, list) or len(value) >= given,
        "uniqueItems": _unique,
        "maxProperties": lambda _, given, value: not isinstance(value, dict) or len(value) <= given,
        "minProperties": lambda _, given, value: not isinstance(value, dict) or len(value) >= given,
        "required": lambda _, given, value: not isinstance(value, dict) or all(name in value for name in given),
        "dependentRequired": _dependent_required,
    }
)
"""What a keyword asserts of a value by itself: (check, keyword's value, value)."""


def _all_of(check: _Check, schema: Mapping[str, Any], value: object) -> Failure | None:
    return next((found for each in schema["allOf"] if (found := check.failure(each, value)) is not None), None)


def _any_of(check: _Check, schema: Mapping[str, Any], value: object) -> Failure | None:
    return None if any(check.has(each, value) for each in schema["anyOf"]) else ((), "anyOf")


def _one_of(check: _Check, schema: Mapping[str, Any], value: object) -> Failure | None:
    return None if sum(check.has(each, value) for each in schema["oneOf"]) == 1 else ((), "oneOf")


def _not(check: _Check, schema: Mapping[str, Any], value: object) -> Failure | None:
    return ((), "not") if check.has(schema["not"], value) else None


def _if(check: _Check, schema: Mapping[str, Any], value: object) -> Failure | None:
    return check.failure(schema.get("then" if check.has(schema["if"], value) else "else", True), value)


def _ref(check: _Check, schema: Mapping[str, Any], value: object) -> Failure | None:
    return check.failure(check.target(schema["$ref"]), value)


def _dependent(check: _Check, schema: Mapping[str, Any], value: object) -> Failure | None:
    if not isinstance(value, dict):
        return None
    wanted = (each for name, each in schema["dependentSchemas"].items() if name in value)
    return next((found for each in wanted if (found := check.failure(each, value)) is not None), None)


def _properties(check: _Check, schema: Mapping[str, Any], value: object) -> Failure | None:
    if not isinstance(value, dict):
        return None
    return check.first((name, each, value[name]) for name, each in schema["properties"].items() if name in value)


def _additional(check: _Check, schema: Mapping[str, Any], value: object) -> Failure | None:
    if not isinstance(value, dict):
        return None
    named, given = schema.get("properties", {}), schema["additionalProperties"]
    if given is False:
        return None if all(name in named for name in value) else ((), "additionalProperties")
    return check.first((name, given, each) for name, each in value.items() if name not in named)


def _names(check: _Check, schema: Mapping[str, Any], value: object) -> Failure | None:
    names = value if isinstance(value, dict) else ()
    return None if all(check.has(schema["propertyNames"], name) for name in names) else ((), "propertyNames")


def _prefix(check: _Check, schema: Mapping[str, Any], value: object) -> Failure | None:
    items = value if isinstance(value, list) else ()
    pairs = zip(schema["prefixItems"], items, strict=False)
    return check.first((index, each, item) for index, (each, item) in enumerate(pairs))


def _items(check: _Check, schema: Mapping[str, Any], value: object) -> Failure | None:
    items = value if isinstance(value, list) else ()
    begin = len(schema.get("prefixItems", ()))
    return check.first((index, schema["items"], item) for index, item in enumerate(items) if index >= begin)


def _contains(check: _Check, schema: Mapping[str, Any], value: object) -> Failure | None:
    if not isinstance(value, list):
        return None
    count = sum(check.has(schema["contains"], item) for item in value)
    if count < schema.get("minContains", 1):
        return (), "contains"
    return None if count <= schema.get("maxContains", count) else ((), "maxContains")


_Applicator = Callable[[_Check, Mapping[str, Any], Any], Failure | None]
_APPLICATORS: Mapping[str, _Applicator] = MappingProxyType(
    {
        "allOf": _all_of,
        "anyOf": _any_of,
        "oneOf": _one_of,
        "not": _not,
        "if": _if,
        "$ref": _ref,
        "dependentSchemas": _dependent,
        "properties": _properties,
        "additionalProperties": _additional,
        "propertyNames": _names,
        "prefixItems": _prefix,
        "items": _items,
        "contains": _contains,
    }
)
"""What a keyword's subschemas say of a value and what is in it: (check, schema, value)."""
