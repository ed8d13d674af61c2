"""A space and an estimate in words, for the command line."""

from __future__ import annotations

from archon.search.enumeration import SpaceCount, count
from archon.search.estimate import Estimate
from archon.search.space import Space


def describe(space: Space) -> str:
    """What a space holds, how many systems, and how the number comes about."""
    counted = count(space)
    lines = [f"{space.name}: {space.about}".rstrip(": "), ""]
    for family, size in zip(space.families, counted.families, strict=True):
        lines.append(size.derivation + (f"  – {family.about}" if family.about else ""))
        lines += [f"    − {number:,} {reason}" for reason, number in size.excluded.items()]
    return "\n".join([*lines, "", *_total(counted), *_published(space, counted), *_limits(space)])


def describe_estimate(estimate: Estimate) -> str:
    """What a search would take and what it could tell apart."""
    questions = ", ".join(f"{number:,} {split}" for split, number in estimate.questions.items())
    lines = [
        f"{estimate.trials} trials, {estimate.calls_per_question:.1f} calls a question at most on average",
        f"questions: {questions}",
        f"calls   searching {estimate.search_calls:,}, confirming {estimate.confirm_calls:,}; cache hits make it fewer",
        f"tokens  {estimate.tokens:,}",
        f"USD     {_dollars(estimate)}",
        "smallest difference that shows (80 % power, 5 % level): "
        f"{_points(estimate.detectable_search)} on search, {_points(estimate.detectable_held_out)} on held_out",
    ]
    return "\n".join([*lines, *(f"assumed: {text}" for text in estimate.assumptions)])


def _total(counted: SpaceCount) -> list[str]:
    lines = [f"{counted.assignments:,} assignments, {counted.feasible:,} of them feasible"]
    if counted.duplicates:
        found = "" if counted.exact else " at least"
        lines.append(f"−{found} {counted.duplicates:,} that make a system another assignment makes too")
    return [*lines, f"= {counted.distinct:,} different systems"]


def _published(space: Space, counted: SpaceCount) -> list[str]:
    if space.published is None:
        return []
    known = space.published
    return ["", f"published: {known.count:,} ({known.source}); here {counted.distinct:,}. {known.why}"]


def _limits(space: Space) -> list[str]:
    limits = [f"at most {space.limits.calls} calls"] if space.limits.calls else []
    limits += [f"at most {space.limits.candidates} candidates into any layer"] if space.limits.candidates else []
    lifted = [f"lifted rules: {', '.join(space.lift)}"] if space.lift else []
    return (["", "limits a question: " + ", ".join(limits)] if limits else []) + lifted


def _dollars(estimate: Estimate) -> str:
    if estimate.usd is not None:
        return f"{estimate.usd:.4f}"
    return f"unknown: no price for {', '.join(estimate.unpriced)}; add `price:` to the model table"


def _points(difference: float | None) -> str:
    return "none at all" if difference is None else f"{100 * difference:.1f} points"
