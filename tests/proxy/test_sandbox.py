"""Served architectures whose unit tests are code: they run in the app's one sandbox, or nothing is served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from archon.errors import ConfigError
from archon.proxy.app import create_app
from archon.proxy.architectures import load
from archon.proxy.settings import Settings
from archon.sandbox import verdicts
from archon.sandbox.probe import strongest
from tests.proxy.serving import Serving, fake, system, voted
from tests.proxy.wire import ask
from tests.test_code_end_to_end import NODES, RIGHT

QUESTION = "Write a function add2(x) that adds 2 to x."


def judging(folder: Path) -> Path:
    """Three drafts (wrong, broken, right), tests that the model writes, the candidates ordered by what passes."""
    rows = [fake("m", "tests.test_code_end_to_end:answer")]
    return system(folder, "tested", yaml.safe_load(NODES)["nodes"], rows, extractor="code")


def _refuses(*_: Any, **__: Any) -> Any:
    raise ConfigError("no safe way to run model-written code here")


@pytest.fixture
def safe() -> None:
    """Skips where nothing safe works: what is to be shown needs a real run."""
    try:
        strongest()
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("safe")
def test_served_unit_tests_are_run_in_one_sandbox_that_ends_with_the_app(tmp_path: Path) -> None:
    with Serving(Settings(files=(judging(tmp_path),))) as server:
        sandbox = server.services.sandbox
        assert sandbox is not None
        assert sandbox.runs == 0  # nothing is started before it is used
        body = {"model": "archon/tested", "messages": [{"role": "user", "content": QUESTION}]}
        first = ask(server.port, body).json["choices"][0]["message"]["content"]
        ran = sandbox.runs
        assert (first, ran > 0) == (RIGHT, True)
        second = ask(server.port, body).json["choices"][0]["message"]["content"]
        assert (second, sandbox.runs) == (RIGHT, ran)  # the same programs and tests: their verdicts are known
    with pytest.raises(ConfigError, match="closed"):
        sandbox.require()


def test_without_such_tests_nothing_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "strongest", _refuses)
    app = create_app(Settings(files=(system(tmp_path, "s", voted(), [fake("m")]),)))
    # It is there for tests that a model writes as code unasked, and looks for nothing before one of them is run.
    assert app.state.services.sandbox is not None


def test_where_nothing_safe_works_the_server_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "strongest", _refuses)
    with pytest.raises(ConfigError, match="no safe way"):
        create_app(Settings(files=(judging(tmp_path),)))


def test_a_reload_that_needs_what_is_not_there_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "strongest", _refuses)
    plain = Settings(files=(system(tmp_path, "s", voted(), [fake("m")]),))
    services = create_app(plain).state.services
    before = services.catalogue
    with pytest.raises(ConfigError, match="no safe way"):
        services.swap(load(Settings(files=(judging(tmp_path),))))
    assert services.catalogue is before
    assert not services.retired


def test_the_risk_can_be_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "strongest", _refuses)
    with pytest.warns(UserWarning, match="without isolation"):
        app = create_app(Settings(files=(judging(tmp_path),), unsafe_exec=True))
    assert app.state.services.sandbox.require().name == "unsafe"
