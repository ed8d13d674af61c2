"""The report: one HTML file with everything in it, to read offline in light or dark, by eye or by screen reader.

Python computes values and positions, the template holds the words and the look; all text is escaped there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from archon.picture import picture
from archon.search import charts
from archon.search.confirm import Findings
from archon.search.objective import best_first, objective
from archon.search.session import SEARCHING, Session
from archon.search.store import Measurement
from archon.search.verdict import outcome, points

TEMPLATE = "report.html.j2"
ORDER = ("system", "vote", "single", "crowd", "winner")
"""Kinds of points; what stands later is drawn over what stands before."""


@dataclass(frozen=True, slots=True)
class Point:
    """A system in the scatter."""

    x: float
    y: float
    kind: str
    """winner, single, vote, system, or crowd: the equal-cost vote, which is measured on *held-out*."""
    title: str


def report_html(
    session: Session, findings: Findings, summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> str:
    """The page."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(percent=_percent, money=_money, number=lambda value: f"{value:,.4g}")
    template = environment.from_string((files("archon.search") / TEMPLATE).read_text(encoding="utf-8"))
    measured = [each for each in session.study.of(*SEARCHING) if each.split == "search" and each.quality is not None]
    return template.render(
        space=session.settings.space,
        settings=session.settings,
        benchmark=session.settings.benchmark,
        summary=summary,
        findings=findings,
        outcome=outcome(findings.vs_single),
        vote_outcome=outcome(findings.vs_vote),
        points=points,
        scatter=_scatter(measured, findings, rows),
        curve=_curve(session, measured),
        compared=_compared(findings),
        finalists=_finalists(session, findings),
        singles=best_first(findings.singles, 0.0),
        picture=picture(findings.winner.architecture),
        box_width=190,
        chart=charts,
        ended=session.study.events["search_ended"]["reason"],
        measured=len(measured),
    )


def _scatter(measured: Sequence[Measurement], findings: Findings, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Quality on the search split against list cost (calls, where a price is unknown), and its Pareto front."""
    priced = all(each.usd is not None for each in measured) and any(each.usd for each in measured)
    label = charts.money if priced else charts.number
    crowd = findings.equal_cost_vote
    at = {each.hash: ((each.usd or 0.0) if priced else each.calls, each.quality or 0.0) for each in measured}
    voted = ((crowd.usd or 0.0) if priced else crowd.calls, crowd.quality or 0.0)
    x = charts.across([cost for cost, _ in (*at.values(), voted)])
    y = charts.upward([quality for _, quality in (*at.values(), voted)])

    def spot(each: Measurement, place: tuple[float, float], what: str, note: str = "") -> Point:
        return Point(x.at(place[0]), y.at(place[1]), what, _title(each, label(place[0])) + note)

    spots = [spot(each, at[each.hash], kind(each, findings)) for each in measured]
    spots.append(spot(crowd, voted, "crowd", "; equal-cost vote, on the held-out questions"))
    path = charts.steps_path([(x.at(c), y.at(q)) for c, q in sorted(at[row["hash"]] for row in rows if row["pareto"])])
    return {
        "points": sorted(spots, key=lambda spot: ORDER.index(spot.kind)),
        "front": f"{path}H{charts.WIDTH - charts.RIGHT:g}" if path else "",
        "x": x.ticks(label),
        "y": y.ticks(charts.percent),
        "axis": "list cost of a question (US dollars)" if priced else "model calls of a question",
        "log": x.log,
    }


def kind(measured: Measurement, findings: Findings) -> str:
    """How a system is marked."""
    if measured.hash == findings.winner.hash:
        return "winner"
    if any(measured.hash == single.hash for single in findings.singles):
        return "single"
    return "vote" if measured.phase == "baselines" else "system"


def _curve(session: Session, measured: Sequence[Measurement]) -> dict[str, Any]:
    """The best objective so far, by number of systems measured."""
    values = [objective(each, session.settings.cost_weight) or 0.0 for each in measured]
    best = [max(values[: index + 1]) for index in range(len(values))]
    x = charts.Axis(1, max(2, len(values)), charts.LEFT, charts.WIDTH - charts.RIGHT)
    low, high = min(values), max(values)
    pad = max(0.02, (high - low) * 0.08)
    y = charts.Axis(low - pad, high + pad, charts.HEIGHT - charts.BOTTOM, charts.TOP)
    before = sum(each.phase != "search" for each in measured)
    return {
        "points": [
            Point(x.at(n), y.at(v), "system", m.name) for n, (v, m) in enumerate(zip(values, measured, strict=True), 1)
        ],
        "path": charts.steps_path([(x.at(n), y.at(v)) for n, v in enumerate(best, 1)]),
        "x": [tick for tick in x.ticks(charts.number) if "." not in tick.label],
        "y": y.ticks(charts.percent),
        "words": f"Best so far: from {charts.percent(best[0])} to {charts.percent(best[-1])} over {len(best)} systems.",
        "begins": x.at(before + 0.5) if 0 < before < len(values) else None,
    }


def _compared(findings: Findings) -> list[dict[str, Any]]:
    """The three systems of the held-out split, with their intervals as bars."""
    three = [
        ("Winner", findings.winner),
        ("Best single model", findings.best_single),
        ("Equal-cost vote", findings.equal_cost_vote),
    ]
    bounds = [value for _, each in three for value in (each.evaluation.ci95 or (0.0, 1.0))]
    low, high = max(0.0, min(bounds) - 0.02), min(1.0, max(bounds) + 0.02)
    axis = charts.Axis(low, high, 0.0, 100.0)
    return [_bar(role, each, axis) for role, each in three]


def _bar(role: str, measured: Measurement, axis: charts.Axis) -> dict[str, Any]:
    interval = measured.evaluation.ci95 or (0.0, 1.0)
    return {
        "role": role,
        "system": measured,
        "low": interval[0],
        "high": interval[1],
        "from": axis.at(interval[0]),
        "to": axis.at(interval[1]),
        "at": axis.at(interval[0] if measured.quality is None else measured.quality),
    }


def _finalists(session: Session, findings: Findings) -> list[dict[str, Any]]:
    """Rows of the table: finalists by their quality on *selection*."""
    ranked = best_first(findings.finalists, 0.0)
    found = []
    for each in ranked:
        before = session.study.find("search", each.hash)
        found.append(
            {"system": each, "search": before.quality if before else None, "won": each.hash == findings.winner.hash}
        )
    return found


def _title(measured: Measurement, cost: str) -> str:
    return f"{measured.name}: {_percent(measured.quality)} at {cost} a question, {measured.calls:.3g} calls"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _money(value: float | None) -> str:
    return "unknown" if value is None else charts.money(value)
