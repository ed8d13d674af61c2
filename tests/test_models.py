"""The model table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archon.errors import ConfigError, UnknownNameError
from archon.models import ModelSpec, ModelTable, read_yaml
from archon.types import Price, Sampling


def test_rows_round_trip_without_their_defaults() -> None:
    rows: list[dict[str, Any]] = [{"id": "m", "price": {"prompt": 1.0, "completion": 2.0}, "key_env": "K"}]
    table = ModelTable.from_list(rows)
    assert table.to_list() == rows
    assert table["m"].known_price == Price(1.0, 2.0)
    assert ModelSpec(id="n").known_price is None


def test_the_providers_name_defaults_to_the_id() -> None:
    assert ModelSpec(id="m").upstream == "m"
    assert ModelSpec(id="m", name="x").upstream == "x"


def test_a_models_defaults_fill_what_a_request_leaves_open() -> None:
    spec = ModelSpec(id="m", max_tokens=64)
    assert spec.sampling(Sampling(temperature=1.0)) == Sampling(temperature=1.0, max_tokens=64)
    assert spec.sampling(Sampling(max_tokens=5)).max_tokens == 5


def test_unknown_models_list_the_known_ones() -> None:
    table = ModelTable([ModelSpec(id="alpha")])
    with pytest.raises(UnknownNameError, match=r"Did you mean 'alpha'\?"):
        table["alpa"]
    assert "alpha" in table
    assert "alpa" not in table
    assert list(table) == ["alpha"]
    assert len(table) == 1


def test_tables_merge_and_narrow() -> None:
    one = ModelTable([ModelSpec(id="a"), ModelSpec(id="b")])
    two = ModelTable([ModelSpec(id="b", client="fake")])
    assert one.merged(two)["b"].client == "fake"
    assert list(one.only(["b", "b"])) == ["b"]


def test_a_model_defined_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="'a' is defined twice"):
        ModelTable([ModelSpec(id="a"), ModelSpec(id="a", client="fake")])
    ModelTable([ModelSpec(id="a"), ModelSpec(id="a")])


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"headers": {"Authorization": "Bearer sk-canary"}}, "options.headers.Authorization"),
        ({"headers": {"api-key": "sk-canary"}}, "options.headers.api-key"),
        ({"headers": {"X-Api-Key": "sk-canary"}}, "options.headers.X-Api-Key"),
        ({"query": {"key": "sk-canary"}}, "options.query.key"),
        ({"body": {"access_token": "sk-canary"}}, "options.body.access_token"),
        ({"arguments": {"api_key": "sk-canary"}}, "options.arguments.api_key"),
        ({"arguments": {"aws_secret_access_key": "sk-canary"}}, "options.arguments.aws_secret_access_key"),
        ({"arguments": {"extra_headers": {"x-api-key": "sk-canary"}}}, "options.arguments.extra_headers.x-api-key"),
        ({"api_key": "sk-canary"}, "options.api_key"),
    ],
)
def test_a_key_typed_into_the_table_is_refused_by_name_and_not_repeated(options: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError, match=r"key_env") as caught:
        ModelTable.from_list([{"id": "m", "options": options}], "models.yaml")
    assert f"models.yaml[0]: model 'm': {place}: " in str(caught.value)
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_of_variables_and_harmless_fields_are_no_keys() -> None:
    options = {
        "header_env": {"Authorization": "MY_TOKEN"},
        "key_header": "api-key",
        "headers": {"X-Title": "t", "anthropic-beta": "b"},
        "body": {"prompt_cache_key": "p", "max_completion_tokens": 5, "keyword": 1},
        "answers": {"token": "an answer of the fake client"},
    }
    assert ModelTable.from_list([{"id": "m", "options": options}])["m"].options == options


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"id": "m"}, "a list of models is needed"),
        (["m"], r"models\[0\]: a mapping"),
        ([{"name": "m"}], "id"),
        ([{"id": "m", "clinet": "x"}], "unknown key 'clinet'"),
        ([{"id": "m", "price": {"prompt": -1, "completion": 0}}], "price.prompt"),
    ],
)
def test_wrong_rows_name_the_place(rows: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ModelTable.from_list(rows)


def test_tables_load_from_files(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("models:\n- id: m\n")
    assert list(ModelTable.load(path)) == ["m"]
    path.write_text("- id: n\n")
    assert list(ModelTable.load(path)) == ["n"]


def test_unreadable_files_say_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_yaml(tmp_path / "x.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError):
        read_yaml(tmp_path / "b.yaml")
    (tmp_path / "c.yaml").write_text("a: [1,\nb: 2\n")
    with pytest.raises(ConfigError, match=r"line \d+, column \d+"):
        read_yaml(tmp_path / "c.yaml")
