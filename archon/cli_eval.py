"""`archon eval`: one architecture on one benchmark, with a progress bar and a table."""

from __future__ import annotations

from typing import Any, cast, get_args

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from archon import cli_sandbox
from archon.budget import Budget
from archon.clients.cache import CacheStore
from archon.clients.stack import ClientStack
from archon.console import interval, percent, table, usd
from archon.errors import ConfigError, UnknownNameError
from archon.evals.evaluation import Evaluation
from archon.evals.runner import evaluate
from archon.protocols import Benchmark
from archon.system import CACHE_FILE, Archon
from archon.types import Split


async def report(
    system: Archon,
    benchmark: Benchmark,
    split: str,
    limit: int | None,
    seed: int,
    concurrency: int,
    most: tuple[int | None, float | None],
    console: Console,
    unsafe: bool = False,
) -> dict[str, Any]:
    """Evaluates, prints, and returns the summary as plain data.

    `most` = calls and US dollars at most; `unsafe`: see --unsafe-exec.
    """
    if split not in get_args(Split):
        raise UnknownNameError("split", split, get_args(Split))
    questions = benchmark.questions(cast(Split, split))[:limit]
    if not questions:
        raise ConfigError(f"benchmark {benchmark.name!r} has no question in the split {split!r}")
    budget = Budget(calls=most[0], usd=most[1])
    stack = ClientStack(
        system.models, cache=CacheStore(system.cache / CACHE_FILE) if system.cache else None, budget=budget
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        needed = cli_sandbox.needed_by(benchmark, system.graph)
        async with cli_sandbox.opened(unsafe, needed) as sandbox:
            with Progress(*columns, console=console, transient=True) as progress:
                bar = progress.add_task(f"{benchmark.name} ({split})", total=len(questions))
                found = await evaluate(
                    system.graph,
                    benchmark,
                    questions,
                    stack,
                    seed=seed,
                    concurrency=concurrency,
                    budget=budget,
                    on_result=lambda _: progress.advance(bar),
                    sandbox=sandbox,
                )
    finally:
        await stack.aclose()
    summary = _summary(system, benchmark, split, found)
    _show(console, summary, found)
    return summary


def _summary(system: Archon, benchmark: Benchmark, split: str, found: Evaluation) -> dict[str, Any]:
    listed = found.list_usage
    return {
        "hash": system.hash,
        "benchmark": benchmark.name,
        "split": split,
        "questions": len(found.outcomes),
        "quality": found.mean,
        "ci95": list(found.ci95) if found.ci95 else None,
        "unscored": found.unscored,
        "failed": sum(found.errors.values()),
        "calls": listed.calls,
        "tokens": listed.tokens,
        "usd": listed.cost_usd,
        "stopped": found.stopped,
    }


def _show(console: Console, summary: dict[str, Any], found: Evaluation) -> None:
    per = max(1, summary["questions"])
    bounds = f" {interval(summary['ci95'])}" if summary["ci95"] else ""
    cost = None if summary["usd"] is None else summary["usd"] / per
    rows = [
        ("quality", f"{percent(summary['quality'])}{bounds} on {summary['questions']} questions"),
        (
            "list cost a question",
            f"{usd(cost)}, {summary['calls'] / per:.1f} calls, {summary['tokens'] / per:,.0f} tokens",
        ),
        ("unscored / failed", f"{summary['unscored']} / {summary['failed']}"),
    ]
    console.print(table(f"{summary['benchmark']} ({summary['split']})", ("", ""), rows))
    for cause, count in found.errors.most_common(3):
        console.print(f"{count} × {cause}", style="red", markup=False)
    if found.stopped:
        console.print(f"stopped early: {found.stopped}", style="yellow", markup=False)
