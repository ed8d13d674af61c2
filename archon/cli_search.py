"""`archon search` and `archon space show`: options to settings, progress to a bar, results to a verdict table."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archon import cli_sandbox
from archon.cli_files import JsonFile, write_json
from archon.cli_sandbox import UnsafeExec
from archon.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from archon.protocols import Benchmark
    from archon.search.settings import Progress, SearchResult, SearchSettings

BENCHMARK_HELP = (
    "ledger, gsm8k, math, jsonl, humaneval, mbpp, minicode, several joined by +, a dotted path; see archon benchmarks."
)
OPTION_HELP = "Benchmark option key=value, repeatable; archon benchmarks lists them."


def search(
    space: Annotated[str, typer.Argument(help="zoo, archon-paper, self-moa, openai-compatible, skip, or a YAML file.")],
    benchmark_name: Annotated[str, typer.Option("--benchmark", help=BENCHMARK_HELP)],
    data: Annotated[Path | None, typer.Option("--data", help="The benchmark's file, where it reads one.")] = None,
    option: Annotated[list[str] | None, typer.Option("-o", help=OPTION_HELP)] = None,
    trials: Annotated[int, typer.Option(min=1, help="Systems of the space to measure.")] = 40,
    max_calls: Annotated[
        int | None, typer.Option(min=1, help="Most calls while searching; cache hits are free.")
    ] = None,
    max_usd: Annotated[float | None, typer.Option(min=0, help="Most US dollars while searching.")] = None,
    confirm_calls: Annotated[int | None, typer.Option(min=1, help="Most calls while confirming.")] = None,
    confirm_usd: Annotated[
        float | None, typer.Option(min=0, help="Most US dollars while confirming; default: as --max-usd.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same search.")] = 0,
    sampler: Annotated[str, typer.Option(help="tpe, random, gp, nsga2, grid, local.")] = "tpe",
    batch: Annotated[int, typer.Option(min=1, help="Systems proposed before the first of them is told.")] = 4,
    finalists: Annotated[int, typer.Option(min=1, help="Best systems that compete on the selection split.")] = 8,
    cost_weight: Annotated[
        float, typer.Option(min=0, help="Quality given up for one US dollar a question; 0: cost breaks ties.")
    ] = 0.0,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Take the cheapest finalist within so many standard errors of the best.")
    ] = 0.0,
    deadline: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds a question may take; a later answer scores 0.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the study; default: runs/SPACE-BENCHMARK.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the study in the folder.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would cost and could detect.")] = False,
    models: Annotated[Path | None, typer.Option("--models", help="YAML file with rows of the model table.")] = None,
    cache: Annotated[Path | None, typer.Option("--cache", help="Call cache to share; default: in the folder.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Questions at once.")] = 32,
    unsafe_exec: UnsafeExec = False,
    json_file: JsonFile = None,
) -> None:
    """Search a space of architectures on a benchmark; end with a verdict, winner.yaml and report.html."""
    from rich.console import Console

    from archon.models import ModelTable
    from archon.search.loading import load_space
    from archon.search.settings import SearchSettings

    found = load_space(space)
    settings = SearchSettings(
        space=found,
        benchmark=benchmark(benchmark_name, data, option or []),
        out=out or Path("runs") / _folder(f"{found.name}-{benchmark_name.rpartition(':')[2].lower()}"),
        models=ModelTable.load(models) if models else ModelTable(),
        trials=trials,
        max_calls=max_calls,
        max_usd=max_usd,
        confirm_calls=confirm_calls,
        confirm_usd=max_usd if confirm_usd is None else confirm_usd,
        seed=seed,
        sampler=sampler,
        batch=batch,
        finalists=finalists,
        cost_weight=cost_weight,
        tolerance=tolerance,
        deadline=deadline,
        concurrency=concurrency,
        cache=cache,
        resume=resume,
    )
    console = Console(stderr=True, highlight=False)
    if dry_run:
        _show_estimate(settings)
        return
    result = _searched(settings, console, unsafe_exec)
    _show_result(result)
    if json_file:
        write_json(json_file, result.summary)


def benchmark(name: str, data: Path | None, options: list[str]) -> Benchmark:
    """A benchmark from its name and options. Raises ConfigError for an option that is not key=value."""
    from archon.registry import benchmark_class

    given: dict[str, Any] = {"path": data} if data is not None else {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise ConfigError(f"-o {option!r}: write key=value, for example -o held_out=500")
        given[key] = _value(value)
    loaded: Benchmark = benchmark_class(name).load(**given)
    return loaded


def _folder(name: str) -> str:
    """A name as one folder: a space's file may call itself "../x"."""
    return re.sub(r"[^\w.+-]+", "-", name).strip(".-") or "search"


def show_space(name: str) -> None:
    """Prints a space's families, its count and how the count comes about."""
    from archon.search.describe import describe
    from archon.search.loading import load_space

    typer.echo(describe(load_space(name)))


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _searched(settings: SearchSettings, console: Console, unsafe: bool) -> SearchResult:
    """Runs the search behind a progress bar; Ctrl-C leaves a study that --resume continues."""
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
    with Bar(*columns, TimeElapsedColumn(), TextColumn("{task.fields[facts]}"), console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None, facts="")

        def listener(progress: Progress) -> None:
            part = progress.questions_done / progress.questions if progress.questions else 0.0
            bar.update(
                task,
                description=progress.phase,
                completed=round(progress.done + part, 2),
                total=progress.total,
                facts=_facts(progress),
            )

        try:
            return asyncio.run(_sandboxed(settings, listener, unsafe))
        except KeyboardInterrupt:
            bar.stop()
            console.print(
                f"Stopped. Everything done is kept in {settings.out}; run the same command with --resume to go on."
            )
            raise


async def _sandboxed(settings: SearchSettings, listener: Callable[[Progress], None], unsafe: bool) -> SearchResult:
    """The search, with a sandbox for code that models write."""
    from archon.search.study import search as run_search

    needed = cli_sandbox.needed_by(settings.benchmark, space=settings.space)
    async with cli_sandbox.opened(unsafe, needed) as sandbox:
        return await run_search(replace(settings, sandbox=sandbox), listener)


def _facts(progress: Progress) -> str:
    """Best so far, calls, hits, dollars, time left, in one line."""
    from archon.console import percent, usd

    left = "" if progress.seconds_left is None else f" · {progress.seconds_left:.0f} s left"
    best = f"best {percent(progress.best)} · " if progress.best is not None else ""
    return f"{best}{progress.calls:,} calls · {progress.hits:,} hits · {usd(progress.usd)}{left}"


def _show_estimate(settings: SearchSettings) -> None:
    from archon.search.describe import describe_estimate
    from archon.search.estimate import dry_run

    typer.echo(describe_estimate(dry_run(settings)))


def _show_result(result: SearchResult) -> None:
    from rich.console import Console

    from archon import drawing, system_file
    from archon.console import interval, percent, table, usd

    summary = result.summary
    rows = []
    for title, key in (
        ("winner", "winner"),
        ("best single model", "best_single"),
        ("equal-cost vote", "equal_cost_vote"),
    ):
        entry = summary[key]
        rows.append(
            (
                title,
                f"{percent(entry['quality'])} {interval(entry['ci95'])}",
                usd(entry["usd"]),
                f"{entry['calls_per_question']:.1f}",
            )
        )
    console = Console(highlight=False)
    questions = summary["questions"]["held_out"]
    columns = ("", f"quality on {questions} held-out questions", "USD a question", "calls")
    console.print(table("Result", columns, rows))
    console.print(result.verdict, markup=False)
    console.print(f"\n{drawing.text(system_file.load(result.winner).architecture)}", markup=False)
    console.print(f"\nwinner: {result.winner}\nreport: {result.report}", markup=False)
