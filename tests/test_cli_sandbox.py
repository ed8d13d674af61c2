"""`archon sandbox check`, and when a sandbox is asked for, refused, or left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archon import cli, cli_sandbox, sandbox
from archon.architecture import Architecture, Node
from archon.errors import ConfigError
from archon.evals.benchmarks.jsonl import Jsonl
from archon.graph import check
from archon.sandbox import Backend, CodeSandbox, Finding, verdicts
from archon.sandbox.probe import strongest

SAFE = dict.fromkeys(sandbox.GUARANTEES, True)
FINDINGS = [
    Finding(Backend("bubblewrap"), {}, "bwrap: no permission"),
    Finding(Backend("landlock"), SAFE),
]


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    out, err = capsys.readouterr()
    return int(str(ended.value.code)), out, err


def test_check_says_which_guarantee_holds_and_what_is_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sandbox, "probe_all", lambda: FINDINGS)
    code, out, _ = said(["sandbox", "check"], capsys)
    assert code == 0
    assert all(guarantee in out for guarantee in sandbox.GUARANTEES)
    assert "bubblewrap does not work here: bwrap: no permission" in out
    assert "model-written code runs in: landlock" in out


@pytest.mark.parametrize("findings", [[], [Finding(Backend("landlock"), SAFE | {"no network": False})]])
def test_check_fails_where_nothing_safe_works(
    findings: list[Finding], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sandbox, "probe_all", lambda: findings)
    code, _, err = said(["sandbox", "check"], capsys)
    assert code == 1
    assert "no safe way" in err


def _refuses(*_: Any, **__: Any) -> Any:
    raise ConfigError("no safe way to run model-written code here")


async def test_a_needed_sandbox_that_does_not_work_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "strongest", _refuses)
    with pytest.raises(ConfigError, match="no safe way"):
        async with cli_sandbox.opened(unsafe=False, needed=True):
            pass
    async with cli_sandbox.opened(unsafe=False, needed=False) as lazy:
        assert isinstance(lazy, CodeSandbox)
        with pytest.raises(ConfigError, match="no safe way"):
            await lazy.check("", "pass")


async def test_unsafe_execution_must_be_asked_for_and_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "strongest", _refuses)
    async with cli_sandbox.opened(unsafe=True, needed=False) as opened:
        with pytest.warns(UserWarning, match="without isolation"):
            await opened.ready()
        assert await opened.check_all("def f(): return 1", ("assert f() == 1", "assert f() == 2")) == (True, False)


async def test_a_safe_backend_is_used_also_where_unsafe_is_allowed() -> None:
    try:
        chosen = strongest()
    except ConfigError as error:
        pytest.skip(str(error))
    async with cli_sandbox.opened(unsafe=True, needed=False) as opened:
        assert await opened.ready() == chosen


def test_a_sandbox_is_needed_for_code_benchmarks_and_executable_tests_alone(tmp_path: Path) -> None:
    from archon.evals.benchmarks.minicode import Minicode

    (tmp_path / "x.jsonl").write_text('{"question": "?", "answer": "1"}\n')
    assert cli_sandbox.needed_by(Minicode.load(search=1, selection=1, held_out=1))
    assert not cli_sandbox.needed_by(Jsonl.load(path=tmp_path / "x.jsonl"))
    for kind, needed in (("natural", False), ("executable", True)):
        nodes = (
            Node(id="a", layer="generator", model="m"),
            Node(id="t", layer="unit_test_generator", model="m", params={"kind": kind}, inputs=("a",)),
            Node(id="e", layer="unit_test_evaluator", model="m", inputs=("t",)),
        )
        assert cli_sandbox.needed_by(graph=check(Architecture(name=None, nodes=nodes, output="e"))) is needed
