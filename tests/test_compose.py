"""Composition with | and >>."""

from __future__ import annotations

import pytest

import archon
from archon import Critic, Fuser, Generator, Node, Ranker, SelfMoaSeq, Vote
from archon.errors import ArchitectureError, ConfigError


def _edges(part: archon.Part) -> set[tuple[str, str]]:
    return {(source, node.id) for node in part.architecture().nodes for source in node.inputs}


def test_then_feeds_every_leaf_into_every_open_step() -> None:
    part = (Generator("a") | Generator("b")) >> (Fuser("a") | Fuser("b")) >> Vote()
    assert _edges(part) == {
        ("generator", "fuser"),
        ("generator_2", "fuser"),
        ("generator", "fuser_2"),
        ("generator_2", "fuser_2"),
        ("fuser", "vote"),
        ("fuser_2", "vote"),
    }


def test_one_object_is_one_node_so_skip_edges_can_be_written() -> None:
    draft = Generator("a", samples=2)
    part = (draft | draft >> Critic("a") >> Fuser("a")) >> Vote()
    assert _edges(part) == {("generator", "critic"), ("critic", "fuser"), ("generator", "vote"), ("fuser", "vote")}


def test_then_is_associative() -> None:
    a, b, c = Generator("a"), Critic("a"), Ranker("a")
    assert ((a >> b) >> c).architecture() == (a >> (b >> c)).architecture()


def test_a_part_beside_itself_is_refused() -> None:
    part = Generator("a")
    with pytest.raises(ArchitectureError, match="beside itself"):
        part | part


def test_an_open_end_is_refused_with_a_fix() -> None:
    with pytest.raises(ArchitectureError, match=r"ends in 2 nodes .*end it with one"):
        (Generator("a") | Generator("b")).architecture()


@pytest.mark.parametrize("operator", ["|", ">>"])
def test_only_parts_can_be_joined(operator: str) -> None:
    with pytest.raises(ArchitectureError, match="got str"):
        Generator("a") | "b" if operator == "|" else Generator("a") >> "b"  # type: ignore[operator]


def test_wrong_parameters_are_refused_where_they_are_written() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'samples'"):
        Generator("a", sample=3)
    with pytest.raises(ConfigError, match="greater than or equal to 1"):
        Generator("a", samples=0)
    with pytest.raises(ConfigError, match="'model' is missing"):
        Generator()


def test_a_layer_without_models_takes_none() -> None:
    with pytest.raises(ArchitectureError, match="calls no model"):
        Vote("a")


def test_a_model_given_twice_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="given twice"):
        Generator("a", model="b")


def test_ids_can_be_given() -> None:
    part = Generator("a", id="draft") >> Fuser("b", id="final")
    assert _edges(part) == {("draft", "final")}
    assert part.architecture().output == "final"


def test_models_by_role_reach_the_node() -> None:
    part = Generator("a") >> SelfMoaSeq("a", aggregator="b", samples=6)
    assert part.architecture().nodes[1].model == {"model": "a", "aggregator": "b"}


def test_any_layer_can_be_named() -> None:
    assert Node("generator", "a", samples=2).architecture().hash == Generator("a", samples=2).architecture().hash


def test_unknown_attributes_of_the_package_are_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = archon.Nothing
    assert "Archon" in dir(archon)
