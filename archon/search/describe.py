"""Spaces and estimates in words, for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from archon.search.charts import money
from archon.search.enumeration import FamilyCount, SpaceCount, count
from archon.search.estimate import Estimate
from archon.search.loading import models_of
from archon.search.space import Space, tops


def describe(space: Space) -> str:
    """What `archon space show` prints: families, limits, the count and how it comes about."""
    found = count(space)
    return "\n".join([*_head(space), "", *_families(space, found), "", *_total(space, found)])


def lifted(space: Space) -> str | None:
    """The warning about construction rules that do not hold; None where all do."""
    if not space.lift:
        return None
    return f"these construction rules are lifted, so the paper would not build all of it: {', '.join(space.lift)}"


def describe_estimate(estimate: Estimate) -> str:
    """What `--dry-run` prints."""
    sizes = estimate.questions
    lines = [
        "Nothing was called. Expected, with no help from the cache:",
        f"  searching   {estimate.search_calls:>12,} calls   ({estimate.trials} systems and the baselines on "
        f"{sizes['search']} questions, {estimate.calls_per_question:.1f} calls a question)",
        f"  confirming  {estimate.confirm_calls:>12,} calls   (finalists on {sizes['selection']} questions, winner and "
        f"baselines on {sizes['held_out']})",
        f"  tokens      {estimate.tokens:>12,}",
        f"  cost        {_cost(estimate):>12}",
        "",
        _detectable("search", sizes["search"], estimate.detectable_search),
        _detectable("held-out", sizes["held_out"], estimate.detectable_held_out),
        "",
        "Assumed: " + "; ".join(estimate.assumptions) + ".",
    ]
    return "\n".join(textwrap.fill(line, 118, subsequent_indent="    ") if len(line) > 118 else line for line in lines)


def _head(space: Space) -> Iterator[str]:
    yield f"{space.name}: {space.about}" if space.about else space.name
    yield f"models: {', '.join(models_of(space))}"
    limits = {"calls a question": space.limits.calls, "candidates into a layer": space.limits.candidates}
    shown = [f"at most {value} {what}" for what, value in limits.items() if value is not None]
    yield f"limits: {', '.join(shown) or 'none'}"
    warning = lifted(space)
    if warning:
        yield f"warning: {warning}"
    if any(tops(family) for family in space.families):
        yield "top models are taken from power rankings, which the search measures first"


def _families(space: Space, found: SpaceCount) -> Iterator[str]:
    for family, counted in zip(space.families, found.families, strict=True):
        if family.about:
            yield f"{family.name} - {family.about}"
        yield from _family(counted)


def _family(counted: FamilyCount) -> Iterator[str]:
    yield f"  {counted.derivation}"
    for reason, number in counted.excluded.items():
        yield f"  - {number:,}: {reason}"
    yield f"  = {counted.feasible:,} feasible"


def _total(space: Space, found: SpaceCount) -> Iterator[str]:
    yield f"{found.assignments:,} assignments, {found.feasible:,} feasible"
    if found.duplicates:
        yield f"- {found.duplicates:,} that spell a system another one spells too"
    how = "canonical hash" if found.exact else "node by node"
    yield f"= {found.distinct:,} different systems (compared by {how})"
    if space.published:
        yield ""
        yield f"published: {space.published.count:,} ({space.published.source})"
        yield from textwrap.wrap(space.published.why, 110)


def _cost(estimate: Estimate) -> str:
    if estimate.usd is None:
        return f"unknown: no price for {', '.join(estimate.unpriced)}"
    return money(estimate.usd) if estimate.usd < 1 else f"${estimate.usd:,.2f}"


def _detectable(split: str, questions: int, difference: float | None) -> str:
    if difference is None:
        return f"{questions} {split} questions cannot show any difference; take more."
    shown = f"{questions} {split} questions show a difference of {100 * difference:.1f} points or more"
    return f"{shown} (paired, 95 % level, 80 % power)."
