"""The original's list-of-lists JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from archon import Archon
from archon.errors import ArchitectureError
from archon.graph import check
from archon.system_file import parse


def component(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "model": "Qwen/Qwen2-72B", "model_type": "Together_API", "temperature": 0.7, **more}


FULL: dict[str, Any] = {
    "name": "every component",
    "layers": [
        [component("generator", samples=5, max_tokens=512, top_k=1, checkpoint="", no_system=True)],
        [component("critic")],
        [component("ranker", top_k=3, use_critiques=True, ranker_batch_size=2)],
        [component("fuser", samples=2, length_control=True), component("fuser", length_contorl=True)],
        [component("verifier", first_k=2, batch_num=4)],
        [component("unit_test_generator", unit_test_cap=5)],
        [component("unit_test_evaluator", remove_unit_tests_from_prompt=True, top_k=2, first_k=1, first_pass=False)],
        [component("fuser")],
    ],
}


def test_every_component_and_key_loads() -> None:
    found = parse(FULL, "config.json")
    layers = [node.layer for node in found.architecture.nodes]
    assert layers == [
        "generator",
        "critic",
        "ranker",
        "fuser",
        "fuser",
        "verifier",
        "unit_test_generator",
        "unit_test_evaluator",
        "fuser",
    ]
    params = {node.id: node.params for node in found.architecture.nodes}
    assert params["generator_0.0"] == {"samples": 5, "max_tokens": 512, "temperature": 0.7, "no_system": True}
    assert params["ranker_2.0"] == {"temperature": 0.7, "keep": 3, "use_critiques": True}
    assert params["fuser_3.0"]["length_control"] is True
    assert params["verifier_4.0"]["first_k"] == 2
    assert params["unit_test_generator_5.0"]["cap"] == 5
    assert params["unit_test_evaluator_6.0"]["keep"] == 2
    check(found.architecture)


def test_the_misspelt_key_is_a_warning_that_names_the_right_one() -> None:
    found = parse(FULL, "config.json")
    said = [text for text in found.warnings if "length_contorl" in text]
    assert len(said) == 1
    assert "length_control" in said[0]
    assert "layers[3][1]" in said[0]
    assert found.architecture.node("fuser_3.1").params["length_control"] is True


def test_every_candidate_of_a_layer_reaches_every_component_of_the_next() -> None:
    found = parse(FULL, "config.json").architecture
    assert found.node("verifier_4.0").inputs == ("fuser_3.0", "fuser_3.1")


def test_providers_become_rows_of_the_model_table_without_secrets() -> None:
    row = parse(FULL, "c").models["Qwen/Qwen2-72B"]
    assert row.endpoint == "https://api.together.xyz/v1"
    assert row.key_env == "TOGETHER_API_KEY"


def test_broken_rules_are_lifted_with_a_warning() -> None:
    """`critic` as the last layer but one before a verifier is nothing the paper allows, and the original runs it."""
    raw = {"name": "x", "layers": [[component("generator")], [component("critic")], [component("verifier")]]}
    found = parse(raw, "c")
    assert found.architecture.lift == ("critic_before",)
    assert any("critic_before is lifted" in text for text in found.warnings)
    check(found.architecture)


def test_several_last_components_answer_with_the_first() -> None:
    raw = {"name": "x", "layers": [[component("generator"), component("generator", temperature=1.0)]]}
    found = parse(raw, "c")
    assert [node.id for node in found.architecture.nodes] == ["generator_0.0"]
    assert any("the first one answers" in text for text in found.warnings)


def test_the_legacy_form_of_a_layer_is_read() -> None:
    raw = {"name": "x", "layers": [{"branches": 1, "models": [component("generator")]}, [component("fuser")]]}
    assert len(parse(raw, "c").architecture.nodes) == 2


def test_unknown_keys_are_said() -> None:
    found = parse({"layers": [[component("generator", sampels=3)]], "extra": 1}, "c")
    assert any("'sampels'" in text for text in found.warnings)
    assert any("'extra'" in text for text in found.warnings)


def test_samples_of_a_layer_that_makes_one_call_are_only_worth_a_word_when_not_one() -> None:
    raw = {"layers": [[component("generator")], [component("ranker", samples=1)]]}
    assert not parse(raw, "c").warnings
    raw["layers"][1][0]["samples"] = 4
    assert any("'samples'" in text for text in parse(raw, "c").warnings)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"layers": []}, "at least one layer"),
        ({"layers": [[]]}, r"layers\[0\] must be a list"),
        ({"layers": [["x"]]}, "must be a mapping"),
        ({"layers": [[{"type": "generator", "model_type": "OpenAI_API"}]]}, "`model` is missing"),
        ({"layers": [[{"type": "magic", "model": "m"}]]}, "unknown type 'magic'"),
        ({"layers": [[{"type": "generator", "model": "m", "model_type": "Nowhere"}]]}, "unknown model_type"),
        ({"layers": [[{"type": "generator", "model": "m", "model_type": ["vLLM"]}]]}, "unknown model_type"),
        (
            {
                "layers": [
                    [{"type": "generator", "model": "m", "model_type": "OpenAI_API"}],
                    [{"type": "fuser", "model": "m", "model_type": "Groq_API"}],
                ]
            },
            "two providers",
        ),
    ],
)
def test_what_cannot_be_read_says_where(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(ArchitectureError, match=said):
        parse(raw, "c.json")


def test_loading_a_file_issues_the_warnings(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"layers": [[component("generator")], [component("fuser", length_contorl=True)]]}))
    with pytest.warns(UserWarning, match="length_control"):
        system = Archon.load(path)
    assert system.plan().calls == 2
