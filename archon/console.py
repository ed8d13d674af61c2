"""What the command line prints: tables and traces. Model-written text never reaches rich as markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from archon.trace import Trace
from archon.types import Usage


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table of plain texts. The first column names the row and is not broken; columns with nothing in them are left
    out."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    told = [index for index in range(len(columns)) if not cells or any(row[index] for row in cells)]
    made = Table(title=title, title_justify="left", header_style="bold")
    for index in told:
        made.add_column(columns[index], overflow="fold", no_wrap=index == 0)
    for row in cells:
        made.add_row(*(Text(row[index]) for index in told))
    return made


def usd(cost: float | None) -> str:
    """A cost in dollars; `?` = the price is unknown."""
    return "?" if cost is None else f"${cost:.6f}" if cost < 0.01 else f"${cost:.4f}"


def usage(found: Usage) -> str:
    """Usage in a few words."""
    drafts = f", {_drafts(found)}" if found.drafted_tokens else ""
    return f"{found.calls} calls, {found.tokens:,} tokens, {usd(found.cost_usd)}{drafts}"


def _drafts(found: Usage) -> str:
    """What became of drafted tokens (speculative decoding)."""
    return f"{found.accepted_tokens:,} of {found.drafted_tokens:,} drafted tokens stood"


def percent(share: float | None) -> str:
    """A share as per cent; `–` where there is none."""
    return "–" if share is None else f"{100 * share:.1f} %"


def interval(bounds: Sequence[float]) -> str:
    """A 95 % interval of shares."""
    return f"[{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]"


def show_trace(console: Console, trace: Trace) -> None:
    """Every node with its candidates, then what a reader should know."""
    used = trace.usage_by_node()
    for record in trace.nodes.values():
        head = f"{record.id} ({record.layer})  {record.list_ended - record.list_started:.2f} s by list"
        console.print(Text(head, style="bold"))
        if used[record.id].drafted_tokens:
            console.print(Text(f"  {_drafts(used[record.id])}", style="dim"))
        if record.error:
            console.print(Text(f"  failed: {record.error}", style="red"))
        for candidate in record.candidates:
            console.print(Text(f"  {candidate.id} [{candidate.model}] {_marks(candidate)}{candidate.text}"))
            if candidate.critique:
                console.print(Text(f"      critique: {candidate.critique}", style="dim"))
    for note in trace.notes:
        console.print(Text(f"note ({note.node}, {note.kind}): {note.message}", style="yellow"))
    for call in trace.failures:
        console.print(Text(f"dropped ({call.node}, {call.model}, sample {call.sample}): {call.error}", style="red"))


def _marks(candidate: object) -> str:
    marks = []
    score = getattr(candidate, "score", None)
    verdict = getattr(candidate, "verdict", None)
    if score is not None:
        marks.append(f"score {score:.3g}")
    if verdict is not None:
        marks.append("verified" if verdict else "not verified")
    return f"({', '.join(marks)}) " if marks else ""
