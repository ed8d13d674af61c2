"""What no stop policy can beat, for a pair on given texts: the clairvoyant oracle and the informed rule, as cost
bounds.

oracle: stops exactly before the first token that would be rejected, so nothing is discarded; with v the mean chance
of rejection along the target's own text its speed-up is 1/(v + (c + c_v)·(1 − v)) (o apart). informed: knows every
token's true chance β = Σ min(p, q), not the coin that is thrown; one-step look-ahead at the best threshold. Both read
the target: not policies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specdec.dataset import Examples, Text, roll_out
from specdec.decoder import SpecDecoder
from specdec.errors import SpecDecError
from specdec.policies.base import LIMIT
from specdec.threshold import Costs, Window, derive, drafted_by_seer


@dataclass(frozen=True, slots=True)
class Bounds:
    """Speed-ups over plain decoding. rejection: v, per token of the target's text."""

    rejection: float
    oracle: float
    informed: float


def bounds(pair: SpecDecoder, texts: Sequence[Text], costs: Costs, seed: int = 0) -> Bounds:
    """Both bounds from roll-outs of the draft along target texts (their settings are those served)."""
    if pair.draft is None:
        raise SpecDecError("bounds on speculation need a draft model")
    rolled = roll_out(
        pair.target.model,
        pair.draft.model,
        texts,
        horizon=LIMIT,
        mix=0.0,
        seed=seed,
        eos=pair.target.eos,
    )
    windows = true_windows(rolled)
    # Rounds cover the text, so that every place of it counts by the chance that a draft comes as far.
    rejection = float((rolled.standing * (1.0 - rolled.overlap)).sum() / rolled.standing.sum())
    informed = derive(windows, costs, drafted=drafted_by_seer).rate
    return Bounds(rejection, oracle(rejection, costs), max(1.0, informed))


def oracle(rejection: float, costs: Costs) -> float:
    """1/(v·(1 + o) + (c + c_v)·(1 − v)): one verification for each rejection, one draft for each token that stands. Not
    below 1: who knows everything also knows when not to draft."""
    spent = rejection * (1.0 + costs.overhead) + (1.0 - rejection) * (costs.draft + costs.verify)
    return max(1.0, 1.0 / spent)


def true_windows(rolled: Examples) -> list[Window]:
    """The roll-outs with the true chance of each place as prediction and as outcome."""
    grouped: dict[int, list[tuple[int, float]]] = {}
    lines = zip(rolled.window.tolist(), rolled.place.tolist(), rolled.overlap.tolist(), strict=True)
    for window, place, chance in lines:
        grouped.setdefault(window, []).append((place, chance))
    chains = (tuple(chance for _, chance in sorted(members)) for members in grouped.values())
    return [Window(chain, chain) for chain in chains]
