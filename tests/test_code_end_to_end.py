"""Code from question to score on the command line: candidates, tests that a model writes, the sandbox, hidden tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from archon import cli
from archon.errors import ConfigError
from archon.sandbox import verdicts
from archon.sandbox.probe import strongest

ROWS = [
    {
        "task_id": number,
        "text": f"Write a function add{number}(x) that adds {number} to x.",
        "code": f"def add{number}(x):\n    return x + {number}",
        "test_list": [f"assert add{number}(1) == {number + 1}", f"assert add{number}(-1) == {number - 1}"],
    }
    for number in (2, 3)
]
WRONG = "```python\ndef add2(x): return x * 3\ndef add3(x): return x * 4\n```"
RIGHT = "```python\ndef add2(x):\n    return x + 2\ndef add3(x):\n    return x + 3\n```"
# The first assertion is passed by the right program and the wrong one, the last by none: the second decides.
ASSERTIONS = "```python\nassert add{0}(1) == {1}\nassert add{0}(5) == {2}\nassert add{0}(0) == 77\n```"
NODES = """
nodes:
- {id: g, layer: generator, model: m, params: {samples: 3}}
- {id: t, layer: unit_test_generator, model: m, params: {kind: executable}, inputs: [g]}
- {id: e, layer: unit_test_evaluator, model: m, params: {keep: 1}, inputs: [t]}
output: e
extractor: code
"""


def answer(request: Any) -> str:
    """What the scripted model says: assertions where tests are asked for, else wrong, broken, right by draw."""
    asked = "\n".join(message.text for message in request.messages)
    number = 2 if "add2" in asked else 3
    if "calls the function by the name asked for" in asked:
        return ASSERTIONS.format(number, number + 1, number + 5)
    return (WRONG, "def add2(x) broken", RIGHT)[request.sample % 3]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "arch.yaml").write_text(NODES)
    (tmp_path / "first.yaml").write_text("nodes: [{id: g, layer: generator, model: m}]\noutput: g\n")
    (tmp_path / "models.yaml").write_text(
        "models: [{id: m, client: fake, options: {answers: 'tests.test_code_end_to_end:answer'}}]\n"
    )
    return {path.stem: str(path) for path in tmp_path.iterdir()} | {"json": str(tmp_path / "out.json")}


def evaluated(files: dict[str, str], architecture: str, *more: str) -> int:
    arguments = [
        "eval",
        files[architecture],
        "--benchmark",
        "mbpp",
        "--data",
        files["data"],
        "--models",
        files["models"],
    ]
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments, "--split", "held_out", "-o", "seed=3", "--json", files["json"], *more])
    return int(str(ended.value.code))


def working() -> None:
    try:
        strongest()
    except ConfigError as error:
        pytest.skip(str(error))


def test_executed_tests_find_the_right_one_among_wrong_candidates(files: dict[str, str]) -> None:
    working()
    assert evaluated(files, "arch") == 0
    found = json.loads(Path(files["json"]).read_text())
    assert (found["quality"], found["unscored"]) == (1.0, 0)
    assert evaluated(files, "first") == 0
    assert json.loads(Path(files["json"]).read_text())["quality"] == 0.0


def test_nothing_is_asked_where_code_cannot_be_run(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses(*_: Any, **__: Any) -> Any:
        raise ConfigError("no safe way to run model-written code here")

    monkeypatch.setattr(verdicts, "strongest", refuses)
    assert evaluated(files, "first") == 2
    assert "no safe way" in capsys.readouterr().err
    assert not Path(files["json"]).exists()
