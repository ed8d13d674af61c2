"""The model card: what was measured, kept as JSON beside the models and shown as tables in `archon/zoo/README.md`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from archon.zoo import ZooModel, model, names
from archon.zoo.judging import OPINIONS
from archon.zoo.measures import TEMPERATURE

PAGE = Path(__file__).parent / "README.md"
MEASURED = Path(__file__).parent / "measured.json"
_START, _END = "<!-- measured -->", "<!-- /measured -->"

Figures = dict[str, Any]
"""Figures by name: shares as [value, low, high], in 0..1, plain numbers, or None where nothing could be counted."""


@dataclass(frozen=True, slots=True)
class Card:
    """questions: of each family, by model. weights: SHA-256 by model. speeds: tokens a second by model. figures: by
    family and model. together: by family, the vote of all its models."""

    questions: Mapping[str, int] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    speeds: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, Mapping[str, Figures]] = field(default_factory=dict)
    together: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def with_(self, found: "Card") -> "Card":
        """This card with newer figures in the place of older ones; models that are no more are left out."""
        families = dict.fromkeys([*self.figures, *found.figures])
        figures = {each: {**self.figures.get(each, {}), **found.figures.get(each, {})} for each in families}
        kept = {each: {name: made[name] for name in names() if name in made} for each, made in figures.items()}
        # A vote of some of a family's models does not stand for the vote of all, nor one of other weights for these.
        old = {each: vote for each, vote in self.together.items() if each not in found.figures}
        whole = {each: vote for each, vote in found.together.items() if vote["models"] == len(kept[each])}
        return Card(
            {**self.questions, **found.questions},
            {**self.weights, **found.weights},
            {**self.speeds, **found.speeds},
            kept,
            {**old, **whole},
        )


def load() -> Card:
    """The card as it was measured; empty before the first time."""
    return Card(**json.loads(MEASURED.read_text())) if MEASURED.exists() else Card()


def save(card: Card) -> None:
    """Keep the figures, and put the tables between the page's marks."""
    MEASURED.write_text(json.dumps(asdict(card), indent=1) + "\n")
    before, _, rest = PAGE.read_text().partition(_START)
    PAGE.write_text(f"{before}{_START}\n\n{text(card)}\n\n{_END}{rest.partition(_END)[2]}")


def text(card: Card) -> str:
    """All tables, as Markdown."""
    chosen = [name for name in names() if name in card.speeds or model(name).family == "draft"]
    parts = [facts([model(name) for name in chosen], card.speeds)]
    for family, found in card.figures.items():
        counts = sorted({card.questions[name] for name in found})
        parts.append(table(found, f"`{family}`, percent right ({' or '.join(map(str, counts))} questions)"))
        if vote := card.together.get(family):
            who = f"5 samples at T = {TEMPERATURE} of each of the {vote['models']} models"
            parts.append(f"`{family}`: a vote over {who}: **{_cell(vote['vote'])}**.")
    return "\n\n".join(parts)


def differing(found: Card, known: Card) -> tuple[list[str], int]:
    """The figures of `found` whose interval has nothing in common with that of `known`, a line each, and how many were
    compared; models of other weights than those of `known` are told too."""
    said = [
        f"{name}: these are not the weights that the card is about"
        for name, weights in found.weights.items()
        if weights != known.weights.get(name)
    ]
    compared = len(said)
    for where, one, other in _both(found, known):
        compared += 1
        if one[2] < other[1] or other[2] < one[1]:
            said.append(f"{where}: {_cell(one)} is not the card's {_cell(other)}")
    return said, compared


def _both(found: Card, known: Card) -> Iterator[tuple[str, list[float], list[float]]]:
    for family, models in found.figures.items():
        for name, figures in models.items():
            stated = known.figures.get(family, {}).get(name, {})
            for figure, one in figures.items():
                other = stated.get(figure)
                if isinstance(one, list) and isinstance(other, list):
                    yield f"{family}, {name}, {_TITLES.get(figure, figure)}", one, other


def table(found: Mapping[str, Figures], title: str) -> str:
    """The figures as Markdown: a row a figure, a column a model."""
    rows = [f"| {title} | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    asked = dict.fromkeys(figure for figures in found.values() for figure in figures)
    for figure in (each for each in asked if any(figures.get(each) is not None for figures in found.values())):
        cells = (_cell(figures.get(figure)) for figures in found.values())
        rows.append(f"| {_TITLES.get(figure, figure)} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _cell(figure: Sequence[float] | float | None) -> str:
    if figure is None:
        return ""
    if isinstance(figure, float | int):
        return f"{figure:.1%}"
    return f"{figure[0]:.1%} ({figure[1] * 100:.1f}–{figure[2] * 100:.1f})"


_TITLES = {
    "greedy": "solve, greedy",
    "sampled": f"solve, one sample at T = {TEMPERATURE}",
    "fuse": "fuse 5 own samples",
    "rank first": "rank 5 own samples: first is right (where they differ)",
    "rank chance": "rank: the first by chance",
    "compare": "compare a right and a wrong sample (chance 50 %)",
    "critique": "critique finds fault with the wrong one of two, and only with it (chance 25 %)",
    "verify": "verify: reasoning and verdict, balanced (chance 50 %)",
    "calibration error": f"verify: calibration error over {OPINIONS} drawn opinions",
    "tests sound": "tests written that a right answer passes",
    "tests judged": "tests in plain words judged rightly on own samples",
}


def facts(models: Sequence[ZooModel], speeds: Mapping[str, float]) -> str:
    """How the models were made, as Markdown."""
    rows = [
        "| model | families | parameters | USD per 1M tokens | training | seed | tokens/s | sha256 of the weights |",
        "|---" * 8 + "|",
    ]
    rows += [
        f"| {m.name} | {m.family} | {m.parameters:,} | {m.usd_per_million_tokens:.3f} "
        f"| {m.steps} steps, {m.minutes:.0f} min | {m.seed} | {_speed(speeds.get(m.name))} | `{m.sha256}` |"
        for m in models
    ]
    return "\n".join(rows)


def _speed(tokens: float | None) -> str:
    return "–" if tokens is None else f"{tokens:,.0f}"
