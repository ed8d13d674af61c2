"""Names, dotted paths, parameters."""

from __future__ import annotations

import pytest

from archon import registry
from archon.errors import ArchitectureError, ConfigError, UnknownNameError


def test_every_row_of_every_table_leads_to_something() -> None:
    for name in registry.layer_names():
        assert registry.layer_class(name).traits.summary
    for name in registry.names("clients"):
        assert hasattr(registry.client_class(name), "from_spec") or hasattr(registry.client_class(name), "from_stack")
    for name in registry.names("packs"):
        assert registry.pack_class(name)(b"secret")
    for name in registry.names("benchmarks"):
        assert hasattr(registry.benchmark_class(name), "load")


def test_an_unknown_name_suggests_the_nearest_and_lists_all() -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'ranker'\? Known: critic, .*dotted path"):
        registry.layer_class("rankr")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("no.such.module:Layer", "module 'no' cannot be imported"),
        ("layers.vote:Nothing", "has no 'Nothing'"),
        ("layers.vote:dataclass", "a layer is a frozen dataclass"),
    ],
)
def test_wrong_dotted_paths_say_what_is_wrong(path: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        registry.layer_class(path)


def test_a_dotted_path_is_as_good_as_a_name() -> None:
    assert registry.layer_class("layers.vote:Vote") is registry.layer_class("vote")


def test_parameters_show_their_defaults() -> None:
    given = registry.parameters("generator")
    assert given["model"] is ...
    assert given["samples"] == 1


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"model": "m", "samples": 1.5}, "'samples'"),
        ({"model": "m", "samples": True}, "'samples'"),
        ({"model": ""}, "'model'"),
        ({"model": "m", "temperature": 9}, "less than or equal to 2"),
        ({"model": "m", "nonsense": 1}, "unknown parameter 'nonsense'"),
    ],
)
def test_wrong_parameters_name_the_layer_and_the_parameter(params: dict[str, object], said: str) -> None:
    with pytest.raises(ArchitectureError, match=said) as caught:
        registry.build_layer("generator", params)
    assert "layer 'generator'" in str(caught.value)
    assert "\n" not in str(caught.value)
