"""The page of `zoo_study.py`: what was found, in words, tables and two pictures, all made of the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import correlation, fmean
from typing import Any

from archon.evals.metrics import paired_difference, wilson
from bench.regression import Fit

Scores = Mapping[str, Mapping[int, Sequence[float]]]
"""Scores by technique and number of samples, in the order of the questions."""
Rows = Mapping[str, Sequence[Mapping[str, Any]]]
_TECHNIQUES = ("verifier", "ranker", "fuser", "unit tests", "vote", "example tests")
_COLOURS = ("#3465a4", "#c4680b", "#2f7d32", "#8a3ffc", "#b3261e", "#5c6b73")


def write(
    docs: Path, questions: int, samples: Mapping[str, Scores], mixed: Rows, regressions: Mapping[str, Mapping[str, Fit]]
) -> None:
    """Writes DOCS/zoo-study.md and its pictures."""
    docs.mkdir(parents=True, exist_ok=True)
    _samples_picture(docs / "zoo-study-samples.png", samples)
    _mixes_picture(docs / "zoo-study-mixes.png", mixed)
    parts = [
        "# What the zoo teaches",
        f"Made by `python bench/zoo_study.py --questions {questions} --docs docs` over {questions} held-out questions "
        "of each family. Brackets hold 95 % intervals: Wilson's for a share, paired for a difference.",
        "## Quality against the number of samples",
        "Samples of one expert (`clerk` for word problems, `scribe` for code) at T = 0.7. `captain` judges, fuses and "
        "writes the unit tests; those of code are run. Example tests are the question's own examples, run as well.",
        "![accuracy by number of samples](zoo-study-samples.png)",
        *(part for family, found in samples.items() for part in (_samples_table(family, found), _against_vote(found))),
        "## Self-MoA against mixed MoA",
        "Six proposals of one to three models, fused by `captain`, which knows both families. A mix is chosen on the "
        "first half of the questions and judged on the second, so that choosing the best of many does not flatter it. "
        "Having no answer counts as one answer among others in the diversity d.",
        "![accuracy of the fusion by quality and diversity of the proposals](zoo-study-mixes.png)",
        *(_mixes_text(family, rows, regressions[family]) for family, rows in mixed.items()),
    ]
    (docs / "zoo-study.md").write_text("\n\n".join(parts) + "\n")


def _against_vote(found: Scores) -> str:
    """Each technique against the vote on the same samples, with the most of them."""
    most = max(found["vote"])
    said = [
        f"{name} {_points(paired_difference(by[most], found['vote'][most]))}"
        for name, by in found.items()
        if name != "vote"
    ]
    return f"Against the vote on the same {most} samples, in points: {'; '.join(said)}."


def _points(gap: Any) -> str:
    return f"{100 * gap.mean:+.1f} [{100 * gap.ci95.low:+.1f}, {100 * gap.ci95.high:+.1f}]"


def _samples_table(family: str, found: Scores) -> str:
    counts = sorted({n for by in found.values() for n in by})
    head = f"| `{family}` | " + " | ".join(f"n = {n}" for n in counts) + " |"
    rows = [
        f"| {name} | " + " | ".join(_share(*_counts(by[n])) if n in by else "" for n in counts) + " |"
        for name, by in found.items()
    ]
    return "\n".join([head, "|---" * (len(counts) + 1) + "|", *rows])


def _mixes_text(family: str, rows: Sequence[Mapping[str, Any]], fits: Mapping[str, Fit]) -> str:
    pure = [row for row in rows if row["models"] == 1]
    mixes = [row for row in rows if row["models"] > 1]
    best_pure, best_mix = _chosen(pure), _chosen(mixes)
    half = len(rows[0]["scores"]) // 2
    gap = paired_difference(best_mix["scores"][half:], best_pure["scores"][half:])
    shown = sorted(rows, key=lambda row: -row["accuracy"])[:8] + sorted(pure, key=lambda row: -row["accuracy"])
    table = ["| mix | quality q | diversity d | accuracy after fusion |", "|---|---|---|---|"]
    table += [_mix_row(row) for row in {row["mix"]: row for row in shown}.values()]
    return "\n\n".join(
        [
            f"### `{family}`",
            f"The best mix ({best_mix['mix']}) against the best single proposer ({best_pure['mix']}): "
            f"{_points(gap)} points, "
            f"so mixing {_verdict(gap)}. "
            f"Of {len(mixes)} mixes {_above(mixes, best_pure)} do better than that proposer on all questions.",
            "\n".join(table),
            f"t = αq + βd + γ, predictors in standard deviations, t in points: {fits['standardised'].line()}.",
            f"As they are (shares, effective number of answers): {fits['raw'].line()}. "
            f"Quality and diversity correlate at {_correlation(rows):+.2f} over the mixes.",
        ]
    )


def _correlation(rows: Sequence[Mapping[str, Any]]) -> float:
    return correlation([row["quality"] for row in rows], [row["diversity"] for row in rows])


def _mix_row(row: Mapping[str, Any]) -> str:
    fused = _share(int(sum(row["scores"])), len(row["scores"]))
    return f"| {row['mix']} | {row['quality']:.1%} | {row['diversity']:.2f} | {fused} |"


def _chosen(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    half = len(rows[0]["scores"]) // 2
    return max(rows, key=lambda row: fmean(row["scores"][:half]))


def _above(mixes: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> int:
    return sum(row["accuracy"] > best["accuracy"] for row in mixes)


def _verdict(gap: Any) -> str:
    if gap.ci95.low > 0:
        return "helps here"
    return "hurts here" if gap.ci95.high < 0 else "neither helps nor hurts here as far as these questions can tell"


def _counts(scores: Sequence[float]) -> tuple[int, int]:
    return int(sum(scores)), len(scores)


def _share(hits: int, count: int) -> str:
    interval = wilson(hits, count)
    return f"{hits / count:.1%} [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"


def _samples_picture(file: Path, samples: Mapping[str, Scores]) -> None:
    figure, axes = _axes(len(samples))
    for axis, (family, found) in zip(axes, samples.items(), strict=True):
        for name, by in found.items():
            counts, colour = sorted(by), _COLOURS[_TECHNIQUES.index(name)]
            axis.plot(counts, [100 * fmean(by[n]) for n in counts], marker="o", color=colour, label=name)
            bounds = [wilson(*_counts(by[n])) for n in counts]
            axis.fill_between(
                counts, [100 * b.low for b in bounds], [100 * b.high for b in bounds], color=colour, alpha=0.08
            )
        axis.set(title=family, xlabel="samples", ylabel="right, %")
        axis.legend(frameon=False)
    _save(figure, file)


def _mixes_picture(file: Path, mixed: Rows) -> None:
    figure, axes = _axes(len(mixed))
    for axis, (family, rows) in zip(axes, mixed.items(), strict=True):
        for models, marker in ((1, "s"), (2, "o"), (3, "^")):
            chosen = [row for row in rows if row["models"] == models]
            dots = axis.scatter(
                [100 * row["quality"] for row in chosen],
                [100 * row["accuracy"] for row in chosen],
                c=[row["diversity"] for row in chosen],
                vmin=min(row["diversity"] for row in rows),
                vmax=max(row["diversity"] for row in rows),
                marker=marker,
                label=f"{models} model{'s' if models > 1 else ''}",
            )
        axis.set(title=family, xlabel="mean accuracy of the proposals, %", ylabel="after fusion, %")
        axis.legend(frameon=False)
        figure.colorbar(dots, ax=axis, label="diversity of the proposals")
    _save(figure, file)


def _axes(count: int) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, count, figsize=(5.6 * count, 4.2), layout="constrained")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    return figure, axes


def _save(figure: Any, file: Path) -> None:
    figure.savefig(file, dpi=150)
