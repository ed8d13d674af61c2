"""Spaces: what is read, what is refused, how assignments become architectures, how the space counts itself."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest

from archon.errors import ConfigError, UnknownNameError
from archon.graph import check, plan
from archon.search import load_space, parse_space, space_names
from archon.search.build import FAMILY, Infeasible, architecture
from archon.search.describe import describe
from archon.search.enumeration import assignments, count, systems
from archon.search.loading import models_of, singles_of, table_of
from tests.search.fakes import MODELS, space

ONE = {"layer": "generator", "model": "openai/a"}


def family(**more: Any) -> dict[str, Any]:
    return {"name": "f", "stages": [ONE], **more}


def small(*families: dict[str, Any], **more: Any) -> Any:
    return parse_space({"name": "s", "families": list(families), **more})


def test_every_shipped_space_loads_and_its_systems_can_be_built() -> None:
    assert {"zoo", "archon-paper", "self-moa", "openai-compatible", "skip"} <= set(space_names())
    for name in space_names():
        found = load_space(name)
        _, first = next(systems(found))
        check(first)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ([], "a mapping with `name` and `families`"),
        ({"name": "s"}, "families"),
        ({"name": "s", "families": []}, "families"),
        ({"name": "s", "families": [family(colour=1)]}, "unknown key 'families.0.colour'"),
        ({"name": "s", "families": [family(stages=[{**ONE, "model": "$m"}])]}, "uses $m, which is no choice"),
        ({"name": "s", "families": [family(), family()]}, "two families have one name"),
        ({"name": "s", "families": [family(choices={"n": {"range": [3, 1]}})]}, "low <= high"),
        ({"name": "s", "families": [family(choices={"n": {"subset_of": ["a"], "at_most": 2}})]}, "at_least <="),
        (
            {"name": "s", "families": [family(choices={"a": {"any_of": [1], "when": {"b": [1]}}})]},
            "no choice before it",
        ),
        ({"name": "s", "families": [family(stages=[{**ONE, "inputs": ["x"]}])]}, "is no stage before it"),
        ({"name": "s", "families": [family(stages=[{**ONE, "models": ["b"]}])]}, "not both"),
        ({"name": "s", "families": [family(stages=[{"layer": "generator", "models": {"top": 2}}])]}, "rankings"),
    ],
)
def test_what_is_wrong_with_a_space_is_said_in_one_line(raw: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_space(raw, "my.yaml")
    assert said in str(caught.value)
    assert str(caught.value).startswith("my.yaml")
    assert "\n" not in str(caught.value)


def test_an_unknown_space_lists_the_shipped_ones_and_a_path_is_a_path(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="zoo"):
        load_space("zop")
    with pytest.raises(ConfigError, match="no such file"):
        load_space(tmp_path / "mine.yaml")
    with pytest.raises(UnknownNameError, match=r"Did you mean 'zoo'\?.*no such file as '\./spaces/zop\.yaml'"):
        load_space("./spaces/zop.yaml")


def test_an_unknown_parameter_of_a_layer_is_an_error_that_names_space_and_family() -> None:
    wrong = small(family(stages=[{**ONE, "params": {"sample": 2}}]))
    with pytest.raises(ConfigError, match=r"space 's', family 'f'.*samples"):
        next(systems(wrong))


def test_a_count_agrees_with_an_independent_enumeration() -> None:
    # vote: 7 teams × 4 sample counts; fuse: 7 × 2 × 3. Left out: more than 10 candidates, and two drafts without a
    # vote (`skip_below: 3`), of which the second would be drawn for nothing.
    def vote_fits(team: int, samples: int) -> bool:
        return team * samples <= 10 and team * samples != 2

    teams = [team for size in (1, 2, 3) for team in combinations(MODELS, size)]
    vote = {(team, n) for team, n in product(teams, (1, 2, 3, 5)) if vote_fits(len(team), n)}
    # A single draft passes both the vote and the fuser by, so "fuse" spells those three systems again, per judge.
    fuse = {(team, n, judge) for team, n, judge in product(teams, (1, 2), MODELS)}
    passing = {one for one in fuse if len(one[0]) * one[1] == 1}
    found = count(space())
    assert found.assignments == 28 + 42
    assert found.feasible == len(vote) + len(fuse)
    assert found.duplicates == len(passing)
    assert found.distinct == len(list(systems(space()))) == len(vote) + len(fuse) - len(passing)


def test_the_paper_space_has_the_size_its_text_gives() -> None:
    found = load_space("archon-paper")
    widths = sum(5**inner for inner in range(4))  # none to three inner layers, five widths each
    pairs = sum(1 for g, s in product(range(1, 11), range(1, 6)) if g * s <= 24)
    assert (widths, pairs) == (156, 38)
    said = describe(found)
    assert f"{38 * 156 * 2 * 3:,} different systems" in said
    assert "9,576" in said


def test_counting_by_blueprint_finds_what_counting_by_hash_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("self-moa", "skip"):
        exact = count(load_space(name))
        monkeypatch.setattr("archon.search.enumeration.EXACT", 0)
        by_blueprint = count(load_space(name))
        monkeypatch.undo()
        assert exact.exact
        assert not by_blueprint.exact
        assert by_blueprint.feasible == exact.feasible
        assert by_blueprint.duplicates <= exact.duplicates


def test_infeasible_assignments_are_left_out_with_a_reason() -> None:
    tight = space(limits={"calls": 3, "candidates": 2})
    for chosen, made in systems(tight):
        planned = plan(made)
        assert planned.calls <= 3, chosen
        assert all(planned.incoming[node] <= 2 for node in planned.incoming), chosen
    with pytest.raises(Infeasible, match="more than 3 calls"):
        architecture(tight, {FAMILY: "vote", "team": MODELS[:1], "samples": 5})
    reasons = {reason for each in count(tight).families for reason in each.excluded}
    assert "more than 3 calls a question" in reasons


def test_a_broken_rule_leaves_a_system_out_and_lifting_it_lets_it_in() -> None:
    stages = [ONE, {"id": "b", "layer": "verifier", "model": "openai/a"}, {"id": "c", **ONE, "inputs": ["b"]}]
    kept = small(family(stages=stages))
    assert count(kept).families[0].excluded == {"a construction rule is broken": 1}
    lifted = small(family(stages=stages), lift=["generators_first"])
    assert count(lifted).distinct == 1
    assert "lifted" in describe(lifted)


def test_a_stage_that_is_left_out_hands_its_inputs_on() -> None:
    found = load_space("skip")
    chosen = {
        FAMILY: "skip",
        "team": ("zoo/abacus",),
        "samples": 3,
        "fuser": "zoo/till",
        "fusions": 2,
        "drafts_vote": True,
    }
    made = architecture(found, chosen)
    joint = made.node("joint_vote")
    assert set(joint.inputs) == {"drafts", "fused"}  # the fusions' own vote is left out; the drafts skip past the fuser


def test_conditional_choices_appear_only_where_their_condition_holds() -> None:
    for chosen in assignments(load_space("archon-paper")):
        layers = chosen["fusion_layers"]
        assert isinstance(layers, int)
        assert [f"width_{n}" in chosen for n in (1, 2, 3)] == [layers > n for n in (1, 2, 3)]
        if layers == 2:
            break


def test_models_come_from_choices_rankings_and_plain_ids() -> None:
    found = load_space("openai-compatible")
    assert models_of(found) == ("large", "small")
    assert singles_of(found) == ("large", "small")
    assert table_of(found)["large"].key_env == "EXAMPLE_API_KEY"
    assert singles_of(load_space("self-moa")) == ("zoo/abacus", "zoo/till", "zoo/clerk")


def test_a_ranking_decides_which_models_are_on_top() -> None:
    found = load_space("openai-compatible")
    chosen = {FAMILY: "refine", "generators": 1, "samples": 1, "critic": False, "step": "none", "judge": "small"}
    made = architecture(found, chosen, {"generators": ("small", "large"), "fusers": ("large", "small")})
    assert [node.model for node in made.nodes] == ["small", "large"]
