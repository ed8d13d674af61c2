"""Schemas of strangers: agreement with the reference implementation, and refusal of what has no bound."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from archon.proxy.errors import ApiError
from archon.proxy.json_schema import DEEPEST, MOST, MOST_TEXT, REFUSED, Form, read_form
from archon.proxy.json_schema_check import MOST_STEPS, Steps, TooMuchError, failure
from archon.proxy.json_values import canonical, is_multiple, loads

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, 1.0, 2.5]), st.text("ab", max_size=3)
)
NAMES = st.sampled_from(["a", "b", "c"])


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values with a few levels."""
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
    )


VALUES = nested(SCALARS)
COUNTS = st.integers(0, 3)
TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
KEYWORDS: dict[str, st.SearchStrategy[Any]] = {
    "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
    "enum": st.lists(VALUES, min_size=1, max_size=3),
    "const": VALUES,
    "multipleOf": st.sampled_from([1, 2, 0.5]),
    **{name: st.integers(-2, 2) for name in ("maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum")},
    **{f"{end}{of}": COUNTS for end in ("min", "max") for of in ("Length", "Items", "Properties", "Contains")},
    "uniqueItems": st.booleans(),
    "required": st.lists(NAMES, max_size=2, unique=True),
    "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=2),
    "$ref": st.sampled_from(["#/$defs/a", "#/$defs/b"]),
}


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Every keyword that has subschemas, over these."""
    several, by_name = st.lists(inner, min_size=1, max_size=2), st.dictionaries(NAMES, inner, max_size=2)
    single = dict.fromkeys(("not", "if", "then", "else", "items", "contains"), inner)
    more = {"additionalProperties": inner, "propertyNames": inner, "properties": by_name, "dependentSchemas": by_name}
    lists = dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), several)
    return st.fixed_dictionaries({}, optional={**KEYWORDS, **single, **more, **lists}).map(_few)


def _few(schema: dict[str, Any]) -> dict[str, Any]:
    return dict(list(schema.items())[-5:])


PLAIN = {name: values for name, values in KEYWORDS.items() if name != "$ref"}
DEFINED = st.fixed_dictionaries({}, optional=PLAIN).map(_few)
SCHEMAS = st.recursive(st.booleans() | DEFINED, schemas, max_leaves=5)
ROOTS = schemas(SCHEMAS)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])  # schemas are slow to make
@given(ROOTS, DEFINED, DEFINED, VALUES)
def test_it_says_what_the_reference_implementation_says(root: Any, a: Any, b: Any, value: Any) -> None:
    schema = {**root, "$defs": {"a": a, "b": b}}
    expected = Draft202012Validator(schema).is_valid(value)
    assert (failure(read_form(schema), loads(canonical(value)), Steps()) is None) == expected


@pytest.mark.parametrize(
    ("schema", "value", "where"),
    [
        ({"properties": {"a": {"items": {"type": "string"}}}}, {"a": ["x", 1]}, (("a", 1), "type")),
        ({"additionalProperties": {"const": 1}}, {"b": 2}, (("b",), "const")),
        ({"$ref": "#/properties/a~1b", "properties": {"a/b": {"type": "null"}}}, 1, ((), "type")),
        ({"$ref": "#/$defs/a%25b", "$defs": {"a%b": False}}, 1, ((), "false")),
        ({"allOf": [{}, {"minimum": 3}]}, 2, ((), "minimum")),
    ],
)
def test_it_tells_where_and_what(schema: Any, value: Any, where: Any) -> None:
    assert failure(read_form(schema), value, Steps()) == where


def test_a_tree_may_be_recursive_and_its_subschemas_are_tried_once_a_value() -> None:
    """Three ways lead to every child: without the memory of what was tried, 3 ** 25 steps."""
    node: Any = {"oneOf": [{"required": [kind], "properties": {"next": {"$ref": "#"}, kind: {}}} for kind in "xyz"]}
    value: Any = {"x": 1}
    for _ in range(25):
        value = {"x": 1, "next": value}
    assert failure(read_form(node), value, Steps()) is None


def doubling(levels: int) -> Any:
    """A schema whose references reach 2 ** levels subschemas, all on one value."""
    places = {f"a{level}": {"allOf": [{"$ref": f"#/$defs/a{level + 1}"}] * 2} for level in range(levels)}
    return {"$ref": "#/$defs/a0", "$defs": {**places, f"a{levels}": {}}}


UNBOUNDED: list[tuple[Any, str]] = [
    (doubling(30), "$ref"),
    (doubling(14), "10,000"),  # 29 within one another: only their number, above 2 ** 14, is too large
    ({"$ref": "#"}, "back to itself"),
    ({"$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}}}, "back to itself"),
    ({"$ref": "#/nope"}, "'#/nope'"),
    ({"properties": {"x": {"$ref": "#/nope"}}}, "'#/nope'"),
    ({"$ref": "http://127.0.0.1:1/x"}, "127.0.0.1"),
    ({"$ref": "#anchor"}, "#anchor"),
    ({"$ref": "#/required", "required": ["a"]}, "#/required"),
    ({"$ref": "#/x", "x": {"pattern": "a"}}, "pattern"),
    ({"properties": {"x": {"$id": "http://["}}}, "$id"),
    ({"description": "x" * MOST_TEXT}, "characters"),
    ({"anyOf": [{}] * (MOST + 1)}, "10,000"),
    *(({"properties": {"x": {keyword: {}}}}, keyword) for keyword in REFUSED),
]


@pytest.mark.parametrize(("schema", "said"), UNBOUNDED)
def test_a_schema_without_a_bound_is_refused(schema: Any, said: str) -> None:
    with pytest.raises(ApiError) as refused:
        read_form(schema)
    assert (refused.value.status, refused.value.param) == (400, "response_format")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


SHAPELESS: list[Any] = [
    {"type": 5}, {"type": "text"}, {"type": []}, {"type": [{}]}, {"properties": []}, {"properties": {"x": 5}},
    {"items": [{}]}, {"allOf": {}}, {"anyOf": []}, {"required": "a"}, {"required": [1]}, {"minLength": -1},
    {"minLength": 1.5}, {"minimum": "1"}, {"minimum": True}, {"multipleOf": 0}, {"multipleOf": float("nan")},
    {"maximum": float("inf")}, {"const": 10**400}, {"$ref": 5}, {"uniqueItems": 1}, {"dependentRequired": {"a": "b"}},
    {"dependentSchemas": {"a": 1}}, {"enum": 1}, {"not": None}, {"$defs": {"a": "x"}},
]  # fmt: skip


@pytest.mark.parametrize("schema", SHAPELESS)
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    with pytest.raises(ApiError, match="response_format: the schema is not taken"):
        read_form(schema)


def test_the_names_of_keywords_may_be_names_of_properties() -> None:
    form = read_form({"properties": {"pattern": {"type": "string"}}, "const": {"pattern": "a"}, "default": {"$ref": 1}})
    assert failure(form, {"pattern": "a"}, Steps()) is None


def test_a_chain_as_long_as_is_taken_can_be_checked() -> None:
    chain: Any = {"type": "null"}
    for _ in range(DEEPEST - 1):
        chain = {"allOf": [chain]}
    assert failure(read_form(chain), None, Steps()) is None
    with pytest.raises(ApiError):
        read_form({"allOf": [chain]})


def test_a_check_has_an_end() -> None:
    """1,000 alternatives that all fail, on each of 2,000 items."""
    form = read_form({"contains": {"anyOf": [{"const": index, "type": "string"} for index in range(1000)]}})
    with pytest.raises(TooMuchError):
        failure(form, [{"n": index} for index in range(2000)], Steps())


def test_the_checks_of_one_request_share_their_steps() -> None:
    """True takes one step."""
    steps = Steps(MOST_STEPS)
    steps.spend(MOST_STEPS - 1)
    assert failure(read_form({}), 1, Steps()) is None
    assert failure(Form(True, {}), 1, steps) is None
    with pytest.raises(TooMuchError):
        failure(Form(True, {}), 1, steps)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "1e999", "9" * 400, "-1e309", '{"a": '])
def test_what_programs_read_differently_is_no_value(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        loads(text)


def test_numbers_are_what_they_are_worth() -> None:
    assert canonical(loads("[1.0, -0.0, 1e2, 0.5]")) == "[1,0,100,0.5]"
    assert canonical(loads("true")) != canonical(loads("1"))
    assert is_multiple(0.3, 0.1)
    assert not is_multiple(0.35, 0.1)
    assert is_multiple(10**300, 1e-300)
