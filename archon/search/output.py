"""What a search leaves in its folder: winner.yaml, leaderboard.csv, report.html, and the summary for `--json`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archon.evals.metrics import Difference
from archon.models import ModelTable
from archon.search.confirm import Findings
from archon.search.objective import best_first
from archon.search.session import Session
from archon.search.settings import SearchResult
from archon.search.store import Measurement
from archon.system_file import SystemFile

COLUMNS = (
    "rank", "hash", "name", "phase", "search_quality", "search_low", "search_high", "selection_quality",
    "held_out_quality", "usd_per_question", "calls_per_question", "seconds_per_question", "pareto",
)  # fmt: skip


def write_results(session: Session, findings: Findings) -> SearchResult:
    """Writes every file, each at once and whole."""
    from archon.search.report import report_html

    out, summary = session.settings.out, summarise(session, findings)
    session.study.mark("confirmed", calls=summary["calls"]["confirm"], verdict=findings.verdict)
    winner_file(session, findings, summary).save(out / "winner.yaml")
    rows = leaderboard(session)
    write(out / "leaderboard.csv", _csv(rows))
    write(out / "report.html", report_html(session, findings, summary, rows))
    return SearchResult(summary, out, findings.verdict, out / "winner.yaml", out / "report.html")


def summarise(session: Session, findings: Findings) -> dict[str, Any]:
    """The `--json` summary; every quality is from the held-out split."""
    study, benchmark = session.study, session.settings.benchmark
    searching = int(study.events["search_ended"]["calls"])
    confirming = study.events.get("confirmed", {}).get("calls", session.calls_made() - searching)
    return {
        "winner": _scores(findings.winner),
        "best_single": _scores(findings.best_single),
        "equal_cost_vote": _scores(findings.equal_cost_vote),
        "difference": {"vs_single": _difference(findings.vs_single), "vs_vote": _difference(findings.vs_vote)},
        "verdict": findings.verdict,
        "trials": sum(1 for _ in study.of("search")),
        "calls": {"search": searching, "confirm": int(confirming)},
        "cache_hits": sum(each.evaluation.cached_calls for each in study.order),
        "questions": {split: len(benchmark.questions(split)) for split in ("search", "selection", "held_out")},
    }


def winner_file(session: Session, findings: Findings, summary: Mapping[str, Any]) -> SystemFile:
    """The winner as a system that `Archon.load`, `archon run` and `archon serve` read."""
    settings, winner = session.settings, findings.winner
    named = winner.architecture.model_copy(update={"name": f"{settings.space.name}: {winner.name}"})
    table: ModelTable = settings.table.only(winner.architecture.model_ids)
    benchmark = {"name": settings.benchmark.name, "hash": settings.benchmark.fingerprint(), **summary["questions"]}
    scores = {name: summary[name] for name in ("winner", "best_single", "equal_cost_vote", "difference", "verdict")}
    search = {
        "space": settings.space.name,
        "sampler": settings.sampler,
        "seed": settings.seed,
        "trials": summary["trials"],
    }
    facts = {"benchmark": benchmark, "scores": scores, "search": search}
    return SystemFile(named, table, settings.benchmark.extractor, settings.seed, facts)


def leaderboard(session: Session) -> list[dict[str, Any]]:
    """Every system measured on the search split, best first, with what else is known of it."""
    study, weight = session.study, session.settings.cost_weight
    measured = [each for each in study.order if each.split == "search"]
    ranked = best_first(measured, weight)
    front = {each.hash for each in pareto(ranked)}
    return [_row(session, rank, each, each.hash in front) for rank, each in enumerate(ranked, 1)]


def pareto(measured: list[Measurement]) -> list[Measurement]:
    """Scored systems that nothing else beats on quality at the same or a lower list cost, cheapest first."""
    scored = [(each.quality, each) for each in measured if each.quality is not None]
    front: list[Measurement] = []
    best = -1.0
    for quality, each in sorted(scored, key=lambda row: (row[1].cost_key[:2], -row[0])):
        if quality > best:
            front.append(each)
            best = quality
    return front


def write(path: Path, text: str) -> None:
    """Writes a text file at once and whole."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _scores(measured: Measurement) -> dict[str, Any]:
    interval = measured.evaluation.ci95
    return {
        "hash": measured.hash,
        "quality": measured.evaluation.mean,
        "ci95": list(interval) if interval else None,
        "usd": measured.usd,
        "calls_per_question": measured.calls,
    }


def _difference(difference: Difference) -> dict[str, Any]:
    return {"mean": difference.mean, "ci95": list(difference.ci95)}


def _row(session: Session, rank: int, measured: Measurement, on_front: bool) -> dict[str, Any]:
    later = {split: session.study.find(split, measured.hash) for split in ("selection", "held_out")}
    interval = measured.evaluation.ci95
    quality = {split: found.evaluation.mean if found else None for split, found in later.items()}
    values = (
        rank, measured.hash, measured.name, measured.phase, measured.evaluation.mean,
        interval.low if interval else None, interval.high if interval else None, quality["selection"],
        quality["held_out"], measured.usd, measured.calls, measured.evaluation.latency, on_front,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """A cell; text that a spreadsheet would take for a formula is quoted."""
    if isinstance(value, str) and value[:1] in "=+-@":
        return f"'{value}"
    return f"{value:.6g}" if isinstance(value, float) else value
