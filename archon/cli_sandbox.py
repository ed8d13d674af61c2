"""`archon sandbox check`, and the sandbox of `archon run`, `eval` and `search`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from archon.errors import ArchonError

if TYPE_CHECKING:
    from archon.graph import Graph
    from archon.protocols import Benchmark
    from archon.sandbox import CodeSandbox, Finding
    from archon.search.space import Space

app = typer.Typer(help="Look at the sandbox for model-written code.", no_args_is_help=True, rich_markup_mode=None)

UnsafeExec = Annotated[
    bool,
    typer.Option("--unsafe-exec", help="Run model-written code even where no isolation works (archon sandbox check)."),
]


@app.callback()
def _root() -> None:
    """Keeps `check` a command of its own."""


@app.command("check")
def check() -> None:
    """Try out what can hold model-written code on this machine; exit code 1 where nothing safe can."""
    from rich.console import Console

    from archon.console import table
    from archon.sandbox import GUARANTEES, probe_all

    findings = probe_all()
    console = Console(highlight=False)
    columns = ("guarantee", *(_title(finding) for finding in findings))
    rows = [(name, *(_cell(finding, name) for finding in findings)) for name in GUARANTEES]
    console.print(table("Sandbox", columns, rows))
    for finding in findings:
        if finding.problem:
            console.print(f"{_title(finding)} does not work here: {finding.problem}", markup=False)
    chosen = next((finding for finding in findings if finding.safe), None)
    if chosen is None:
        raise ArchonError("no safe way to run model-written code here; install bubblewrap, or use --unsafe-exec")
    console.print(f"model-written code runs in: {_title(chosen)}", markup=False)


@asynccontextmanager
async def opened(unsafe: bool, needed: bool) -> AsyncIterator[CodeSandbox]:
    """A sandbox that starts nothing before its first use.

    Raises:
        ConfigError: it is `needed` and nothing safe works here, told before anything is spent.
    """
    from archon.sandbox import CodeSandbox

    sandbox = CodeSandbox(unsafe=unsafe)
    try:
        if needed:
            await sandbox.ready()
        yield sandbox
    finally:
        await sandbox.aclose()


def needed_by(benchmark: Benchmark | None = None, graph: Graph | None = None, space: Space | None = None) -> bool:
    """Whether it is certain beforehand that code will be run: answers that are code, or tests that are."""
    if benchmark is not None and getattr(benchmark.scorer, "needs_sandbox", False):
        return True
    if graph is not None and graph.runs_code:
        return True
    stages = [stage for family in space.families for stage in family.stages] if space is not None else []
    return any(stage.layer == "unit_test_generator" and "kind" in stage.params for stage in stages)


def _title(finding: Finding) -> str:
    return f"{finding.backend.name}{' (user namespace)' if finding.backend.user_namespace else ''}"


def _cell(finding: Finding, guarantee: str) -> str:
    if not finding.holds:
        return "–"
    return "holds" if finding.holds[guarantee] else "DOES NOT HOLD"
