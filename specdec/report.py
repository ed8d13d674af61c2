"""A bench's outcome as Markdown, as JSON, and as a picture of V against D."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from specdec.bench import Line, Outcome
from specdec.costs import Measured
from specdec.errors import SpecDecError
from specdec.paired import Interval

_COLUMNS = (
    "system", "tokens/s", "× whole runs", "× decoding", "V", "D", "tokens/pass", "× counted", "of oracle",
    "specdec++ is so much faster", "and counted",
)  # fmt: skip
_HEAD = f"| {' | '.join(_COLUMNS)} |\n{'|---' * len(_COLUMNS)}|"


def markdown(outcomes: Sequence[Outcome]) -> str:
    """One table for each temperature, the fastest system first, under the costs and bounds it is judged by."""
    return "\n\n".join(_table(outcome) for outcome in outcomes) + "\n"


def as_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """All figures, as plain values."""
    return {"outcomes": [asdict(outcome) for outcome in outcomes]}


def pareto(outcomes: Sequence[Outcome], file: Path) -> None:
    """A PNG with one panel for each temperature: discards against verifications per token; nearer the origin is better.

    Raises SpecDecError where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SpecDecError("the plot needs matplotlib: pip install matplotlib, or leave --plot out") from error
    figure = Figure(figsize=(5 * len(outcomes), 4.5), layout="constrained")
    panels = figure.subplots(1, len(outcomes), squeeze=False)[0]
    for panel, outcome in zip(panels, outcomes, strict=True):
        _draw(panel, outcome)
    # Beside the last panel, where it covers no system.
    panels[-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(file, dpi=120)


def _draw(panel: Any, outcome: Outcome) -> None:
    fixed = [(line.V, line.D) for line in outcome.lines if line.system.startswith("fixed:")]
    if fixed:
        panel.plot(*zip(*fixed, strict=True), "o-", markersize=3, label="fixed K")
    for line in outcome.lines:
        if line.V is not None and line.system != "off" and not line.system.startswith("fixed:"):
            panel.plot([line.V], [line.D], "*" if line.system == "specdec++" else "s", label=line.system)
    panel.set(title=f"temperature {outcome.temperature:g}", xlabel="verification rate V", ylabel="discard rate D")


def _table(outcome: Outcome) -> str:
    limits = outcome.bounds
    ordered = sorted(outcome.lines, key=lambda line: -line.whole.median)
    return "\n".join(
        (
            f"### Temperature {outcome.temperature:g}",
            "",
            _costs(outcome.measured) + f"; rejection per token {limits.rejection:.4f}; bounds by these costs: "
            f"oracle {limits.oracle:.2f} ×, informed {limits.informed:.2f} ×",
            "",
            _HEAD,
            *(_row(line) for line in ordered),
            "",
            "Counted: by the costs above, taken as exact; the intervals are those of the prompts.",
            *_beside_fixed(outcome),
            *(f"\n`{line.system}`: {line.note}." for line in ordered if line.note),
        )
    )


def _costs(measured: Measured) -> str:
    kinds = (measured.rule, measured.fixed, measured.entropies, measured.costs)
    c, c_fixed, c_entropy, c_head = (f"{one.draft:.3f}" for one in kinds)
    return (
        f"c {c} ({c_fixed} for fixed K, {c_entropy} where entropies are read, {c_head} with the head), c_v "
        f"{measured.rule.verify:.3f}, overhead of a round {measured.rule.overhead:.3f}, {measured.reading:.4f} for "
        f"each token of a prompt that the draft reads, all in plain steps of {1e3 * measured.plain:.2f} ms"
    )


def _beside_fixed(outcome: Outcome) -> list[str]:
    """What `specdec++` gains over the best fixed K, chosen with hindsight, and how much of the informed rule's gain."""
    fixed = [line for line in outcome.lines if line.system.startswith("fixed:")]
    learnt = next((line for line in outcome.lines if line.system == "specdec++"), None)
    if learnt is None or learnt.predicted is None or not fixed:
        return []
    best = max(fixed, key=lambda line: (line.speedup or line.whole).median)
    counted = max(fixed, key=lambda line: _middle(line.predicted))
    room = outcome.bounds.informed - _middle(counted.predicted)
    gained = learnt.predicted.median - _middle(counted.predicted)
    share = f", {gained / room:.0%} of the informed rule's gain" if room > 0 else ""
    return [
        "",
        f"Beside the best fixed K with hindsight: by the clock (`{best.system}`) {_percent(best.ahead)}; counted "
        f"(`{counted.system}`) {_percent(counted.counted_ahead)}{share}.",
    ]


def _row(line: Line) -> str:
    cells = (
        line.system,
        _spread(line.speed, 0),
        _spread(line.whole, 2),
        "–" if line.speedup is None else _spread(line.speedup, 2),
        _number(line.V, 3),
        _number(line.D, 3),
        _number(line.pass_tokens, 2),
        "–" if line.predicted is None else _spread(line.predicted, 2),
        _number(line.of_oracle, 2),
        "–" if line.ahead is None or line.system == "specdec++" else _ahead(line, line.ahead),
        "–" if line.system == "specdec++" else _percent(line.counted_ahead),
    )
    return "| " + " | ".join(cells) + " |"


def _ahead(line: Line, ahead: Interval) -> str:
    return _percent(ahead) + ("" if line.speedup else " (whole runs)")


def _spread(value: Interval, digits: int) -> str:
    return f"{value.median:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def _middle(value: Interval | None) -> float:
    return value.median if value else 0.0


def _percent(value: Interval | None) -> str:
    if value is None:
        return "–"
    low, middle, high = (f"{100 * (one - 1):+.1f}" for one in (value.low, value.median, value.high))
    return f"{middle} % [{low}, {high}]"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
