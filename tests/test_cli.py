"""The command line as a person meets it: what it prints, one line for every mistake, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from archon.cli import main

SYSTEM = """
name: three votes
nodes:
- {id: g, layer: generator, model: m, params: {samples: 3}}
- {id: v, layer: vote, inputs: [g]}
output: v
models:
- {id: m, client: fake, price: {prompt: 1, completion: 1}, options: {answers: ["so the answer is 4"]}}
"""
SPACE = """
name: tiny
models:
- {id: m, client: fake, price: {prompt: 1, completion: 1}, options: {seeded: true, answers: ["4", "5", "4"]}}
families:
- name: vote
  choices: {samples: [1, 3, 5]}
  stages:
  - {layer: generator, model: m, params: {samples: $samples}}
  - {layer: vote, skip_below: 2}
"""


@pytest.fixture
def system(tmp_path: Path) -> Path:
    path = tmp_path / "system.yaml"
    path.write_text(SYSTEM)
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "q.jsonl"
    rows = [{"question": f"what is {i} + {4 - i}?", "answer": "4"} for i in range(60)]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(each) for each in arguments])
    return int(ended.value.code or 0)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line on standard error of a call that is refused as the user's mistake."""
    assert call(*arguments) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line.strip()]
    assert len(lines) == 1, said
    return lines[0]


def test_half_a_character_in_an_answer_is_shown_and_written(tmp_path: Path) -> None:
    """In a process of its own: pytest's capture would take what a terminal's encoding refuses."""
    path, result = tmp_path / "s.json", tmp_path / "r.json"
    model = {"id": "m", "client": "fake", "options": {"answers": ["cut \ud83d here"]}}
    nodes = [{"id": "g", "layer": "generator", "model": "m"}]
    path.write_text(json.dumps({"nodes": nodes, "output": "g", "models": [model]}))
    command = [sys.executable, "-c", "from archon.cli import main; main()", "run", path, "q", "--json", result]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "cut \\ud83d here\n"), done.stderr
    assert json.loads(result.read_text())["answer"] == "cut \ud83d here"


def test_run_answers(system: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", system, "2+2?") == 0
    out = capsys.readouterr()
    assert out.out == "so the answer is 4\n"
    assert "3 calls" in out.err


def test_run_streams(system: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", system, "2+2?", "--stream") == 0
    assert capsys.readouterr().out == "so the answer is 4\n"


def test_run_reads_standard_input(
    system: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("2+2?"))
    assert call("run", system, "-") == 0
    assert "answer is 4" in capsys.readouterr().out


def test_run_shows_its_trace_and_writes_json(system: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", system, "2+2?", "--trace", "--json", tmp_path / "r.json") == 0
    assert "g#2 [m]" in capsys.readouterr().err
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["answer"] == "so the answer is 4"
    assert len(written["trace"]["calls"]) == 3


def test_a_spent_budget_is_a_failure_and_no_answer(system: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", system, "2+2?", "--max-calls", 1) == 1
    out = capsys.readouterr()
    assert out.out == ""
    assert "reserve" in out.err


def test_show_draws_and_counts(system: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", system) == 0
    out = capsys.readouterr().out
    assert "generator m (samples=3)" in out
    assert "at most 3 calls" in out
    assert call("show", system, "--mermaid") == 0
    assert capsys.readouterr().out.startswith("flowchart LR")


def test_layers_and_models_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("layers") == 0
    assert "self_moa_seq" in capsys.readouterr().out
    table = tmp_path / "m.yaml"
    table.write_text("- {id: mine, client: fake, key_env: MY_KEY}\n")
    assert call("models", "--models", table) == 0
    assert "mine" in capsys.readouterr().out


def test_benchmarks_are_listed_with_the_options_that_they_take(capsys: pytest.CaptureFixture[str]) -> None:
    from archon import registry

    assert call("benchmarks") == 0
    out = capsys.readouterr().out
    for name in registry.names("benchmarks"):
        fields = registry.benchmark_class(name).options.model_fields
        assert f"-o for {name}" in out
        assert all(key in out and field.description for key, field in fields.items()), name


@pytest.mark.parametrize("command", ["search", "run", "eval"])
def test_a_result_file_that_cannot_be_written_is_told_before_anything_is_called(
    command: str, system: Path, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {
        "search": ["zoo", "--benchmark", "ledger", "--out", tmp_path / "study"],
        "run": [system, "2+2?"],
        "eval": [system, "--benchmark", "jsonl", "--data", questions],
    }
    for path, why in ((tmp_path / "no" / "r.json", "there is no folder"), (tmp_path, "it is a folder")):
        assert call(command, *given[command], "--json", path) == 2
        out = capsys.readouterr()
        assert out.out == ""
        assert why in out.err
        assert out.err.count("\n") == 1
    assert not (tmp_path / "study").exists()


def test_every_setting_of_a_search_that_a_file_does_not_hold_has_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    from archon import cli_search

    seen: list[Any] = []
    monkeypatch.setattr(cli_search, "_show_estimate", seen.append)
    flags = ("--cost-weight", 2, "--tolerance", 1, "--finalists", 3, "--batch", 2, "--deadline", 9)
    assert call("search", "zoo", "--benchmark", "ledger", "--dry-run", *flags) == 0
    (given,) = seen
    assert (given.cost_weight, given.tolerance, given.finalists, given.batch, given.deadline) == (2, 1, 3, 2, 9)


def test_the_usual_folder_of_a_space_is_one_folder_below_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from archon import cli_search

    seen: list[Any] = []
    monkeypatch.setattr(cli_search, "_show_estimate", seen.append)
    path = tmp_path / "s.yaml"
    vote = {"name": "v", "stages": [{"layer": "generator", "model": "zoo/till"}]}
    path.write_text(json.dumps({"name": "../../etc/x", "families": [vote]}))
    assert call("search", path, "--benchmark", "ledger", "--dry-run") == 0
    assert seen[0].out == Path("runs") / "etc-x-ledger"


def test_eval_measures(system: Path, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "e.json"
    assert call("eval", system, "--benchmark", "jsonl", "--data", questions, "--limit", 5, "--json", written) == 0
    summary = json.loads(written.read_text())
    assert summary["quality"] == 1.0
    assert summary["calls"] == 15
    assert "quality" in capsys.readouterr().err


def test_search_ends_with_a_verdict_and_its_files(
    questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space, out, written = tmp_path / "space.yaml", tmp_path / "out", tmp_path / "s.json"
    space.write_text(SPACE)
    arguments: list[Any] = ["search", space, "--benchmark", "jsonl", "--data", questions, "--out", out, "--trials", 3]
    assert call(*arguments, "--dry-run") == 0
    assert "calls" in capsys.readouterr().out
    assert call(*arguments, "--json", written) == 0
    assert "winner" in capsys.readouterr().out
    for name in ("winner.yaml", "leaderboard.csv", "trials.jsonl", "report.html"):
        assert (out / name).stat().st_size > 0
    summary = json.loads(written.read_text())
    assert {
        "winner",
        "best_single",
        "equal_cost_vote",
        "difference",
        "verdict",
        "trials",
        "calls",
        "cache_hits",
    } <= set(summary)
    assert call("run", out / "winner.yaml", "2+2?") == 0
    capsys.readouterr()
    assert "--resume" in refused(capsys, *arguments)
    assert call(*arguments, "--resume", "--json", written) == 0
    assert json.loads(written.read_text())["winner"]["hash"] == summary["winner"]["hash"]


def test_spaces_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("space", "show", "archon-paper") == 0
    assert "9,576" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nowhere.yaml", "q"], "no such file"),
        (["search", "nospace", "--benchmark", "ledger"], "unknown search space 'nospace'"),
        (["search", "zoo", "--benchmark", "legder"], "Did you mean 'ledger'"),
        (["search", "zoo", "--benchmark", "gsm8k"], "path"),
        (["search", "zoo", "--benchmark", "ledger", "-o", "search"], "key=value"),
        (["search", "zoo", "--benchmark", "ledger", "-o", "serch=3"], "serch"),
        (["search", "zoo", "--benchmark", "ledger", "--sampler", "magic"], "magic"),
        (["search", "zoo"], "--benchmark"),
        (["serch", "zoo"], "serch"),
        (["space", "show", "zo"], "Did you mean 'zoo'"),
        (["models", "--models", "nowhere.yaml"], "no such file"),
        (["run"], "arch"),
        (["layers", "--colour"], "--colour"),
    ],
)
def test_every_mistake_gets_one_clear_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("inputs: [g]", "inputs: [v]"), "cycle"),
        (("layer: vote", "layer: voet"), "Did you mean 'vote'"),
        (("samples: 3", "sampels: 3"), "Did you mean 'samples'"),
        (("samples: 3", "samples: many"), "'samples'"),
        (("model: m,", "model: n,"), "unknown model 'n'"),
        (("output: v", "output: w"), "'w' is no node"),
        (("layer: vote", "layer: verifier"), "'model' is missing"),
        (("name: three", "nmae: three"), "unknown key 'nmae'"),
        (("client: fake", "client: fkae"), "Did you mean 'fake'"),
        (("client: fake", "client: fake, pack: englsh"), "Did you mean 'english'"),
        (("options: {answers: [", "options: {anwsers: ["), "Did you mean 'answers'"),
    ],
)
def test_every_mistake_in_a_file_names_the_place(
    change: tuple[str, str], said: str, system: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SYSTEM.replace(*change)
    assert text != SYSTEM
    system.write_text(text)
    assert said in refused(capsys, "run", system, "q")


def test_a_missing_key_is_named_by_its_variable(system: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = "{id: m, client: openai, endpoint: 'http://127.0.0.1:9/v1', key_env: NO_SUCH_KEY}"
    system.write_text(SYSTEM[: SYSTEM.index("- {id: m, client")] + f"- {row}\n")
    assert "NO_SUCH_KEY" in refused(capsys, "run", system, "q")


def test_an_endpoint_that_cannot_be_reached_is_named(
    system: Path, questions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = "{id: m, client: openai, endpoint: 'http://127.0.0.1:9/v1', retries: 0}"
    system.write_text(SYSTEM[: SYSTEM.index("- {id: m, client")] + f"- {row}\n")
    assert "127.0.0.1" in refused(capsys, "run", system, "q")
    assert "127.0.0.1" in refused(capsys, "eval", system, "--benchmark", "jsonl", "--data", questions)


def test_a_result_that_cannot_be_written_is_said(
    system: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", system, "q", "--json", tmp_path / "no" / "r.json") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0
    assert capsys.readouterr().out.startswith("archon-engine ")


def test_the_package_runs_as_a_module() -> None:
    ran = subprocess.run([sys.executable, "-m", "archon", "layers"], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0
    assert "vote" in ran.stdout
