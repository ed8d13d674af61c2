"""The canonical form: two spellings of one system are one system, two systems are two."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon import Critic, Fuser, Generator, Ranker, Vote
from archon.architecture import Architecture, Node
from archon.compose import Part
from archon.errors import ArchitectureError


def _node(node_id: str, layer: str, *inputs: str, model: str | None = "m", **params: object) -> Node:
    return Node(id=node_id, layer=layer, model=model, params=params, inputs=inputs)


def _arch(*nodes: Node, output: str) -> Architecture:
    return Architecture(nodes=nodes, output=output)


def test_names_do_not_count() -> None:
    a = _arch(_node("g", "generator"), _node("f", "fuser", "g"), output="f")
    b = _arch(_node("x", "generator"), _node("y", "fuser", "x"), output="y")
    assert a.hash == b.hash


def test_defaults_written_out_do_not_count() -> None:
    plain = _arch(_node("g", "generator"), _node("f", "fuser", "g"), output="f")
    spelled = _arch(_node("g", "generator", samples=1, temperature=0.7), _node("f", "fuser", "g"), output="f")
    assert plain.hash == spelled.hash


def test_whole_numbers_and_floats_are_one_temperature() -> None:
    a = _arch(_node("g", "generator", temperature=1), output="g")
    b = _arch(_node("g", "generator", temperature=1.0), output="g")
    assert a.hash == b.hash


def test_minus_zero_is_zero() -> None:
    one, other = (_arch(_node("g", "generator", temperature=value), output="g") for value in (0.0, -0.0))
    assert one.hash == other.hash


def test_samples_of_siblings_add_up() -> None:
    apart = (Generator("m", samples=2) | Generator("m", samples=3)) >> Vote()
    together = Generator("m", samples=5) >> Vote()
    assert apart.architecture().hash == together.architecture().hash


def test_siblings_with_other_settings_stay_apart() -> None:
    mixed = (Generator("m", samples=2, temperature=0.2) | Generator("m", samples=3)) >> Vote()
    assert mixed.architecture().hash != (Generator("m", samples=5) >> Vote()).architecture().hash


def test_order_of_inputs_does_not_count() -> None:
    ab = (Generator("a") | Generator("b")) >> Fuser("m")
    ba = (Generator("b") | Generator("a")) >> Fuser("m")
    assert ab.architecture().hash == ba.architecture().hash


def test_a_shared_generator_is_not_two_generators() -> None:
    """One generator read by two critics' branches gives the same draws twice; two generators give different draws."""
    shared = _arch(
        _node("g", "generator"),
        _node("f1", "fuser", "g", temperature=0.1),
        _node("f2", "fuser", "g", temperature=0.2),
        _node("v", "vote", "f1", "f2", model=None),
        output="v",
    )
    apart = _arch(
        _node("g1", "generator"),
        _node("g2", "generator"),
        _node("f1", "fuser", "g1", temperature=0.1),
        _node("f2", "fuser", "g2", temperature=0.2),
        _node("v", "vote", "f1", "f2", model=None),
        output="v",
    )
    assert shared.hash != apart.hash


def test_siblings_never_share_sample_indices() -> None:
    """Twins read by different consumers are not merged, so the second starts where the first ends."""
    arch = _arch(
        _node("g1", "generator", samples=2),
        _node("g2", "generator", samples=3),
        _node("f1", "fuser", "g1", temperature=0.1),
        _node("f2", "fuser", "g2", temperature=0.2),
        _node("v", "vote", "f1", "f2", model=None),
        output="v",
    )
    ranges = [range(node.base, node.base + node.samples) for node in arch.canonical_nodes if node.name == "generator"]
    drawn = [index for indices in ranges for index in indices]
    assert sorted(drawn) == [0, 1, 2, 3, 4]


def test_siblings_that_need_other_quorums_never_share_sample_indices() -> None:
    """A quorum says how many draws must succeed, not what is asked: the request is one, so are its sample indices."""
    arch = _arch(
        _node("g1", "generator", samples=2),
        _node("g2", "generator", samples=3, quorum=2),
        _node("v", "vote", "g1", "g2", model=None),
        output="v",
    )
    ranges = [range(node.base, node.base + node.samples) for node in arch.canonical_nodes if node.name == "generator"]
    assert sorted(index for indices in ranges for index in indices) == [0, 1, 2, 3, 4]


def test_a_dotted_path_of_our_own_is_the_short_name() -> None:
    short, dotted = (_arch(_node("g", name), output="g") for name in ("generator", "layers.generator:Generator"))
    assert short.hash == dotted.hash


def test_a_six_ring_is_not_two_triangles() -> None:
    """Colour refinement alone cannot tell these apart: six generators, six fusers of two generators each."""

    def ring(edges: list[tuple[int, int]]) -> str:
        generators = [_node(f"g{i}", "generator") for i in range(6)]
        fusers = [_node(f"f{i}", "fuser", f"g{a}", f"g{b}") for i, (a, b) in enumerate(edges)]
        last = _node("v", "vote", *(node.id for node in fusers), model=None)
        return _arch(*generators, *fusers, last, output="v").hash

    six = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)]
    triangles = [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3)]
    assert ring(six) != ring(triangles)


def test_the_hash_is_the_same_in_another_process() -> None:
    code = "from archon import Fuser, Generator; print((Generator('m', samples=3) >> Fuser('n')).architecture().hash)"
    root = str(Path(__file__).parent.parent)
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": root, "PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert hashes == {(Generator("m", samples=3) >> Fuser("n")).architecture().hash}


@pytest.mark.parametrize(
    ("nodes", "output", "said"),
    [
        ((_node("a", "fuser", "b"), _node("b", "fuser", "a")), "a", "cycle"),
        ((_node("a", "generator"), _node("b", "fuser", "nowhere")), "b", "'nowhere' is no node"),
        ((_node("a", "generator"),), "z", "output 'z' is no node"),
        ((_node("a", "generatr"),), "a", "Did you mean 'generator'"),
        ((_node("a", "generator", sampels=3),), "a", "Did you mean 'samples'"),
        ((_node("a", "generator", samples="three"),), "a", "'samples'"),
        ((_node("a", "generator", model=None),), "a", "'model' is missing"),
    ],
)
def test_what_cannot_be_hashed_says_why(nodes: tuple[Node, ...], output: str, said: str) -> None:
    with pytest.raises(ArchitectureError, match=said):
        _ = _arch(*nodes, output=output).hash


_MODELS = st.sampled_from(["a", "b", "c"])


@st.composite
def parts(draw: st.DrawFn) -> Part:
    """Small systems: generators, perhaps a critic with a ranker, one or two stages of fusers."""
    part = Generator(draw(_MODELS), samples=draw(st.integers(1, 3)))
    for _ in range(draw(st.integers(0, 3))):
        part = part | Generator(draw(_MODELS), samples=draw(st.integers(1, 3)))
    if draw(st.booleans()):
        part = part >> Critic(draw(_MODELS)) >> Ranker(draw(_MODELS), keep=draw(st.integers(1, 3)))
    fusers = Fuser(draw(_MODELS))
    for _ in range(draw(st.integers(0, 2))):
        fusers = fusers | Fuser(draw(_MODELS), samples=draw(st.integers(1, 2)))
    return part >> fusers >> Vote()


def _respelt(architecture: Architecture, rng: random.Random) -> Architecture:
    """The same system: nodes renamed and shuffled, inputs shuffled, a generator of n split into two where n > 1."""
    nodes = [node.model_copy(deep=True) for node in architecture.nodes]
    for node_id in [node.id for node in nodes if node.params.get("samples", 1) > 1]:
        node = next(each for each in nodes if each.id == node_id)
        rest = {**node.params, "samples": node.params["samples"] - 1}
        second = node.model_copy(update={"id": node_id + "_more", "params": rest})
        node.params["samples"] = 1
        nodes = [
            other.model_copy(update={"inputs": (*other.inputs, second.id)}) if node_id in other.inputs else other
            for other in (*nodes, second)
        ]
    names = {node.id: f"n{rng.randrange(10**9)}" for node in nodes}
    renamed = [
        Node(
            id=names[node.id],
            layer=node.layer,
            model=node.model,
            params=node.params,
            inputs=tuple(rng.sample([names[i] for i in node.inputs], len(node.inputs))),
        )
        for node in nodes
    ]
    rng.shuffle(renamed)
    return Architecture(nodes=tuple(renamed), output=names[architecture.output])


@given(parts(), st.integers(0, 2**32))
def test_every_respelling_hashes_alike(part: Part, seed: int) -> None:
    architecture = part.architecture()
    assert _respelt(architecture, random.Random(seed)).hash == architecture.hash


@given(parts())
def test_yaml_and_json_round_trips_keep_the_system(part: Part) -> None:
    import json

    import yaml

    architecture = part.architecture(name="x")
    assert Architecture.from_dict(yaml.safe_load(architecture.to_yaml())) == architecture
    assert Architecture.from_dict(json.loads(architecture.to_json())).hash == architecture.hash
