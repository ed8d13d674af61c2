"""The two power rankings of the Archon paper (arXiv 2409.15254, section 3.3): best generators and best fusers.

Generators are ranked by what each reaches alone, sampled; fusers by what each makes of one and the same ensemble, one
answer of every generator (the best ten at most). The best generator is often not the best fuser. Both are measured on
the search split.
"""

from __future__ import annotations

from collections.abc import Mapping

from archon.architecture import Architecture, Node
from archon.search.baselines import single, single_name
from archon.search.build import Rankings
from archon.search.session import Session
from archon.search.space import Ranking, Space, tops

ENSEMBLE = 10
"""Answers that a fuser is ranked on, at most."""


async def measure_rankings(session: Session) -> Rankings:
    """The rankings that the space uses, best first; ties in the order of the file."""
    space = session.settings.space
    used = {top.by for family in space.families for top in tops(family)}
    ranked: dict[Ranking, tuple[str, ...]] = {}
    if not used:
        return ranked
    session.begin("ranking", sum(len(space.rankings[by]) for by in used))
    generators = space.rankings.get("generators") or space.rankings["fusers"]
    ranked["generators"] = await _generators(session, generators)
    if "fusers" in used:
        ranked["fusers"] = await _fusers(session, ranked["generators"])
    return ranked


async def _generators(session: Session, models: tuple[str, ...]) -> tuple[str, ...]:
    quality: dict[str, float | None] = {}
    for model in models:
        made = single(model, session.settings.space.temperature)
        quality[model] = (await session.needed("search", made, single_name(model, made))).quality
    return _best_first(models, quality)


async def _fusers(session: Session, generators: tuple[str, ...]) -> tuple[str, ...]:
    space = session.settings.space
    models, quality = space.rankings["fusers"], dict[str, float | None]()
    ensemble = generators[: min(ENSEMBLE, space.limits.candidates or ENSEMBLE)]
    for model in models:
        made = fusing(space, ensemble, model)
        quality[model] = (await session.needed("search", made, f"{model} fusing {len(ensemble)} models")).quality
    return _best_first(models, quality)


def _best_first(models: tuple[str, ...], quality: Mapping[str, float | None]) -> tuple[str, ...]:
    """What could not be scored stands last."""

    def rank(model: str) -> tuple[bool, float]:
        value = quality[model]
        return value is None, -(value or 0.0)

    return tuple(sorted(models, key=rank))


def fusing(space: Space, ensemble: tuple[str, ...], model: str) -> Architecture:
    """One answer of every model of the ensemble, fused by `model`."""
    params = {"temperature": space.temperature}
    drafts = [
        Node(id=f"draft_{index}", layer="generator", model=member, params=params)
        for index, member in enumerate(ensemble, 1)
    ]
    fuser = Node(id="fuser", layer="fuser", model=model, inputs=tuple(node.id for node in drafts))
    return Architecture(nodes=(*drafts, fuser), output="fuser")
