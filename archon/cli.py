"""The command line. `archon --help` is the map.

Exit codes: 0 done; 1 the work failed (no answer, budget spent); 2 something the user wrote is wrong, or an
endpoint cannot be reached or refuses the key; 130 interrupted. Errors are one line on standard error.
"""

from __future__ import annotations

import asyncio
import io
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.exceptions import TyperException

from archon import __version__, cli_keys, cli_sandbox, cli_search, cli_serve
from archon.cli_files import JsonFile, write_json
from archon.cli_sandbox import UnsafeExec
from archon.errors import ArchonError, ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from archon.executor import Result
    from archon.system import Archon

app = typer.Typer(
    help="Find, run and serve inference-time architectures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
space_app = typer.Typer(help="Look at search spaces.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(space_app, name="space")
app.add_typer(cli_keys.app, name="keys")
app.add_typer(cli_sandbox.app, name="sandbox")

Arch = Annotated[Path, typer.Argument(help="Architecture file: winner.yaml, YAML, JSON, or an original Archon config.")]
ModelsFile = Annotated[Path | None, typer.Option("--models", help="YAML file with further rows of the model table.")]
CacheDir = Annotated[Path | None, typer.Option("--cache", help="Folder of the call cache.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of the draws; default: the file's own.")]
MaxCalls = Annotated[int | None, typer.Option("--max-calls", min=0, help="Most model calls.")]
MaxUsd = Annotated[float | None, typer.Option("--max-usd", min=0, help="Most US dollars.")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"archon-engine {__version__}")
        raise typer.Exit


app.command("search")(cli_search.search)
app.command("serve")(cli_serve.serve)


@app.command("run")
def run(
    arch: Arch,
    question: Annotated[str, typer.Argument(help="The question; - reads it from standard input.")],
    trace: Annotated[bool, typer.Option("--trace", help="Show every node's candidates.")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Print the answer as it arrives.")] = False,
    models: ModelsFile = None,
    cache: CacheDir = None,
    seed: Seed = None,
    max_calls: MaxCalls = None,
    max_usd: MaxUsd = None,
    deadline: Annotated[float | None, typer.Option(min=0.001, help="Seconds before giving up.")] = None,
    unsafe_exec: UnsafeExec = False,
    json_file: JsonFile = None,
) -> None:
    """Answer one question with an architecture."""
    from archon.budget import Budget
    from archon.console import show_trace, usage

    text = sys.stdin.read() if question == "-" else question
    system = _load(arch, models, cache)
    budget = None if max_calls is None and max_usd is None else Budget(calls=max_calls, usd=max_usd)
    result = asyncio.run(_answer(system, text, stream, unsafe_exec, seed=seed, budget=budget, deadline=deadline))
    if not stream:
        typer.echo(result.text)
    console = _console()
    if trace:
        show_trace(console, result.trace)
    console.print(f"{usage(result.list_usage)} by list, {result.trace.cache_hits} from cache", style="dim")
    if json_file:
        write_json(json_file, {"answer": result.text, "trace": result.trace.to_dict()})


@app.command("eval")
def evaluate(
    arch: Arch,
    benchmark: Annotated[str, typer.Option("--benchmark", help=cli_search.BENCHMARK_HELP)],
    data: Annotated[Path | None, typer.Option("--data", help="The benchmark's file, where it reads one.")] = None,
    option: Annotated[list[str] | None, typer.Option("-o", help=cli_search.OPTION_HELP)] = None,
    split: Annotated[str, typer.Option(help="search, selection or held_out.")] = "held_out",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first questions of the split.")] = None,
    models: ModelsFile = None,
    cache: CacheDir = None,
    seed: Seed = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Questions at once.")] = 64,
    max_calls: MaxCalls = None,
    max_usd: MaxUsd = None,
    unsafe_exec: UnsafeExec = False,
    json_file: JsonFile = None,
) -> None:
    """Measure an architecture on a benchmark."""
    from archon.cli_eval import report

    system = _load(arch, models, cache)
    summary = asyncio.run(
        report(
            system,
            cli_search.benchmark(benchmark, data, option or []),
            split,
            limit,
            system.seed if seed is None else seed,
            concurrency,
            (max_calls, max_usd),
            _console(),
            unsafe_exec,
        )
    )
    if json_file:
        write_json(json_file, summary)


@app.command("show")
def show(
    arch: Arch,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As a Mermaid flowchart.")] = False,
) -> None:
    """Draw an architecture and say what one run of it costs."""
    from archon.console import percent

    system = _load(arch, None, None)
    typer.echo(system.draw("mermaid" if mermaid else "text"))
    if mermaid:
        return
    planned = system.plan()
    typer.echo(f"\nhash {system.hash}; at most {planned.calls} calls a question, {planned.stages} stages")
    scores: Any = system.facts.get("scores")
    if isinstance(scores, dict) and isinstance(scores.get("quality"), int | float):
        typer.echo(f"measured quality {percent(scores['quality'])}")


@space_app.command("show")
def space_show(space: Annotated[str, typer.Argument(help="Name of a shipped space, or a YAML file.")]) -> None:
    """Count a search space, with the derivation."""
    cli_search.show_space(space)


@app.command("layers")
def layers() -> None:
    """List the layers and their parameters."""
    from archon import registry
    from archon.console import table

    rows = [(name, registry.layer_class(name).traits.summary, _parameters(name)) for name in registry.layer_names()]
    _console(stderr=False).print(table("Layers", ("name", "what it does", "parameters"), rows))


@app.command("benchmarks")
def benchmarks() -> None:
    """List the benchmarks and the options that -o takes."""
    from archon import registry
    from archon.console import table

    for name in registry.names("benchmarks"):
        found = registry.benchmark_class(name)
        rows = [(key, _default(field), field.description) for key, field in _fields(found).items()]
        _console(stderr=False).print(table(f"-o for {name}", ("option", "default", "meaning"), rows))


@app.command("models")
def list_models(models: ModelsFile = None) -> None:
    """List the models at hand: the zoo, and the rows of a table."""
    from archon import zoo
    from archon.clients.local_draft import accelerated_by
    from archon.console import table
    from archon.default_models import zoo_spec
    from archon.models import ModelTable

    specs = [zoo_spec(name) for name in zoo.names()]
    specs += list(ModelTable.load(models).values()) if models else []
    rows = [
        (
            spec.id, spec.client, spec.endpoint or spec.upstream, _price(spec), spec.context or "",
            accelerated_by(spec), spec.key_env or "",
        )
        for spec in specs
    ]  # fmt: skip
    columns = ("id", "client", "where", "USD per M (in / out)", "context", "draft, policy", "key from")
    _console(stderr=False).print(table("Models", columns, rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; the console script `archon`."""
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    for stream in (sys.stdin, sys.stdout, sys.stderr):  # a text may hold what the terminal's encoding does not
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(list(arguments) if arguments is not None else None, standalone_mode=False)
    except TyperException as error:
        said = getattr(error, "format_message", error.__str__)()
        raise SystemExit(_said(f"{said} (see archon --help)", 2)) from None
    except ConfigError as error:
        raise SystemExit(_said(str(error), 2)) from None
    except ArchonError as error:
        raise SystemExit(_said(str(error), 2 if _set_up_wrongly(error) else 1)) from None
    except (KeyboardInterrupt, typer.Abort):
        raise SystemExit(_said("interrupted", 130)) from None
    except BrokenPipeError:
        raise SystemExit(0) from None
    raise SystemExit(code if isinstance(code, int) else 0)


async def _answer(system: Archon, text: str, stream: bool, unsafe: bool, **options: Any) -> Result:
    async with cli_sandbox.opened(unsafe, cli_sandbox.needed_by(graph=system.graph)) as sandbox:
        if not stream:
            return await system.arun(text, sandbox=sandbox, **options)
        async for piece in system.stream(text, sandbox=sandbox, **options):
            if not isinstance(piece, str):
                typer.echo()
                return piece
            typer.echo(piece, nl=False)
    raise AssertionError("a stream ends with its result")


def _load(arch: Path, models: Path | None, cache: Path | None) -> Archon:
    from archon.system import Archon

    return Archon.load(arch, models=models, cache=cache)


def _console(stderr: bool = True) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def _parameters(name: str) -> str:
    from archon import registry

    given = registry.parameters(name).items()
    return ", ".join(key if default is ... else f"{key}={default!r}" for key, default in given)


def _fields(benchmark: Any) -> dict[str, Any]:
    """Fields of a benchmark's options; none where a third party's does not tell."""
    options = getattr(benchmark, "options", None)
    return dict(options.model_fields) if options else {}


def _default(field: Any) -> str:
    return "(needed)" if field.is_required() else f"{field.default}"


def _price(spec: Any) -> str:
    if spec.price is None:
        return "unknown"
    both = (f"{spec.price.prompt:.4g}", f"{spec.price.completion:.4g}")
    return " / ".join(dict.fromkeys(both))


def _set_up_wrongly(error: ArchonError) -> bool:
    """Whether a run failed for what the user can mend: a refused key, an endpoint that cannot be reached."""
    from archon.evals.runner import refused, unreachable

    return refused(error) or unreachable(error)


def _said(message: str, code: int) -> int:
    print(f"archon: {' '.join(message.split())}", file=sys.stderr)
    return code
