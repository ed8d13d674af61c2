"""What every search measures beside its space: each model alone, greedy and sampled, and plain votes."""

from __future__ import annotations

from collections.abc import Sequence

from archon.architecture import Architecture, Node
from archon.errors import ConfigError
from archon.search.loading import singles_of
from archon.search.session import Session
from archon.search.space import Space
from archon.search.store import Measurement

VOTERS = 5
"""Samples of the simple vote."""


def single(model: str, temperature: float) -> Architecture:
    """One draw from one model; temperature 0 = greedy."""
    params = {"temperature": temperature}
    return Architecture(nodes=(Node(id="answer", layer="generator", model=model, params=params),), output="answer")


def vote(models: Sequence[str], samples: int, temperature: float) -> Architecture:
    """The majority over `samples` draws of each model."""
    params = {"temperature": temperature, "samples": samples}
    drafts = [
        Node(id=f"drafts_{index}", layer="generator", model=model, params=params)
        for index, model in enumerate(models, 1)
    ]
    inputs = tuple(node.id for node in drafts)
    return Architecture(nodes=(*drafts, Node(id="vote", layer="vote", inputs=inputs)), output="vote")


def singles(space: Space) -> dict[str, tuple[str, Architecture]]:
    """Every single model, greedy and sampled, by hash: the model and its architecture."""
    temperatures = dict.fromkeys((0.0, space.temperature))
    made = [(model, single(model, temperature)) for model in singles_of(space) for temperature in temperatures]
    return {architecture.hash: (model, architecture) for model, architecture in made}


def single_name(model: str, architecture: Architecture) -> str:
    """How a single model is called in reports."""
    greedy = architecture.nodes[0].params["temperature"] == 0
    return f"{model}, {'greedy' if greedy else 'sampled'}"


async def measure_baselines(session: Session) -> list[Measurement]:
    """Singles and simple votes on the search split."""
    space = session.settings.space
    alone = singles(space)
    session.begin("baselines", len(alone) + 2)
    found = [await session.needed("search", made, single_name(model, made)) for model, made in alone.values()]
    if all(each.evaluation.silent for each in found):
        cause = found[0].evaluation.errors.most_common(1)[0][0]
        raise ConfigError(
            f"no model of the space {space.name!r} answered any of the search questions: {cause}; mend the model table "
            "and begin in another folder"
        )
    for name, made in _votes(space, found):
        found.append(await session.needed("search", made, name))
    return found


def _votes(space: Space, found: Sequence[Measurement]) -> list[tuple[str, Architecture]]:
    """A vote of the best model with itself and one of all models, where the space's limits allow them."""
    scored = [each for each in found if each.quality is not None]
    if not scored:
        raise ConfigError("not one answer to the search questions could be scored; mend the benchmark's scorer")
    best = max(scored, key=lambda each: (each.quality, [-ord(c) for c in each.hash])).architecture.model_ids[0]
    models, most = singles_of(space), min(space.limits.calls or 10**9, space.limits.candidates or 10**9)
    samples, votes = min(VOTERS, most), []
    if samples >= 3:
        votes.append((f"{best}, vote of {samples}", vote([best], samples, space.temperature)))
    if 3 <= len(models) <= most:
        votes.append((f"vote of {len(models)} models", vote(models, 1, space.temperature)))
    return votes
