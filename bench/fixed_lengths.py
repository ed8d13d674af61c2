"""Which fixed draft lengths could be the best of a pair, each tried once on some prompts: see `specdec_pairs.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from specdec.bench import Plan
    from specdec.decoder import SpecDecoder

_KEPT = 3


def screened(decoder: SpecDecoder, prompts: Sequence[list[int]], plan: Plan) -> tuple[tuple[str, ...], str]:
    """The three fastest by the clock and the three fastest counted, and a table of all. plan: its systems are left
    out."""
    from specdec.bench import FIXED, PLAIN, bench

    (outcome,) = bench(decoder, prompts, replace(plan, systems=(PLAIN, *FIXED)))
    found = {
        line.system: (line.speedup.median, line.predicted.median)
        for line in outcome.lines
        if line.system in FIXED and line.speedup and line.predicted
    }
    best = {name for i in (0, 1) for name in sorted(found, key=lambda name: -found[name][i])[:_KEPT]}
    table = (
        f"Fixed K at temperature {plan.temperatures[0]:g}, {len(prompts)} prompts:\n",
        "| K | × decoding | × counted |",
        "|---|---|---|",
        *(f"| {name.removeprefix('fixed:')} | {clock:.2f} | {count:.2f} |" for name, (clock, count) in found.items()),
        "",
    )
    return tuple(name for name in found if name in best), "\n".join(table)
