"""What an acceptance head may read of a drafted token, and what each of it is worth: the zoo's captain and its draft.

    python -m archon.zoo.prompts --model captain --split train --count 12000 --seed 1 --out train.jsonl
    python bench/head_features.py --prompts train.jsonl --work FOLDER [--train 6000] [--epochs 6]

Texts are written to FOLDER, and read from there the next time. Heads are fitted on roll-outs along some of them and
judged on roll-outs along others (a tenth): AUROC, and the speed-up counted with the costs of the pair, *the same for
all*, each rule at the bound that is best there. So a row tells what its signals are worth, and not what they cost. The
pairs are those of `specdec_pairs.py`. Prints one table.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from bench.specdec_pairs import pairs
from specdec import SpecDecoder
from specdec.costs import measure
from specdec.dataset import Examples, Text, roll_out
from specdec.head import ResidualBlock
from specdec.head_config import SCALES, HeadConfig
from specdec.metrics import auroc, weighted_loss
from specdec.policies.base import LIMIT
from specdec.progress import Progress
from specdec.prompts import read_prompts
from specdec.settings import Training
from specdec.texts import make_texts
from specdec.threshold import Costs
from specdec.windows import inputs

TEMPERATURES = (0.0, 0.7, 1.0)
BOUNDS = tuple(0.02 * i for i in range(5, 48))
RATE, BATCH = 1e-3, 256


class Roll(NamedTuple):
    """One token of a roll-out: predicted chance of this one, of the next one (1 = not asked), and the actual one."""

    chance: float
    next: float
    actual: float


def logit_q(examples: Examples) -> Tensor:
    """[n, 1]"""
    return SCALES[0] * examples.features[:, :1]


def by_temperature(examples: Examples) -> Tensor:
    """Temperature times logit q and logit max q, [n, 2]."""
    return examples.features[:, 3:] * examples.features[:, :2]


def before(examples: Examples) -> Tensor:
    """Σ ln q of the tokens drafted before it in the round, [n, 1]."""
    order = _order(examples)
    logs = torch.nn.functional.logsigmoid(logit_q(examples)[order, 0])
    sums, windows = logs.cumsum(0) - logs, examples.window[order]
    first = torch.cat((torch.tensor([True]), windows[1:] != windows[:-1]))
    found = torch.empty_like(sums)
    found[order] = sums - sums[first][first.long().cumsum(0) - 1]
    return found.unsqueeze(-1)


KINDS: dict[str, tuple[int, Sequence[Callable[[Examples], Tensor]]]] = {
    "the head: hidden state, q, max q, place, temperature": (0, ()),
    "and temperature times logit q": (0, (by_temperature,)),
    "and what was drafted before it": (0, (by_temperature, before)),
    "all of these, one block": (1, (by_temperature, before)),
    "all of these, two blocks": (2, (by_temperature, before)),
}


def _order(examples: Examples) -> Tensor:
    return torch.argsort(examples.window * (LIMIT + 1) + examples.place)


def read(examples: Examples, more: Sequence[Callable[[Examples], Tensor]]) -> Tensor:
    """All that a head reads, [n, inputs]; logit q at the place where the heads expect it."""
    return torch.cat(
        (inputs(HeadConfig(examples.hidden.shape[1]), examples), *(made(examples) for made in more)), dim=-1
    )


def head_of(depth: int, width: int, hidden: int) -> torch.nn.Module:
    """As `AcceptanceHead`, for any number of inputs: it too begins with the draft's own opinion."""
    last = torch.nn.Linear(width, 1)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
        last.weight[0, hidden] = SCALES[0]
    return torch.nn.Sequential(*(ResidualBlock(width) for _ in range(depth)), last)


def fitted(depth: int, x: Tensor, labels: Tensor, weights: Tensor, hidden: int, epochs: int) -> torch.nn.Module:
    """By AdamW with a cosine schedule."""
    torch.manual_seed(0)
    head = head_of(depth, x.shape[1], hidden)
    optimiser = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=0.01)
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(epochs):
        for pick in torch.randperm(len(x)).split(BATCH)[: len(x) // BATCH]:
            loss = weighted_loss(head(x[pick]).squeeze(-1), labels[pick], 1.0, weights[pick])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return head


def next_labels(examples: Examples) -> tuple[Tensor, Tensor]:
    """What became of the token after each, and whether there was one, both [n]."""
    order, labels, has = _order(examples), torch.ones(len(examples)), torch.zeros(len(examples), dtype=torch.bool)
    follows = (examples.window[order][1:] == examples.window[order][:-1]) & (
        examples.place[order][1:] == examples.place[order][:-1] + 1
    )
    has[order[:-1][follows]] = True
    labels[order[:-1][follows]] = examples.token[order[1:][follows]]
    return labels, has


def rolls(examples: Examples, chances: Tensor, ahead: Tensor) -> list[list[Roll]]:
    """Round by round."""
    found: dict[int, list[Roll]] = {}
    for i in _order(examples).tolist():
        roll = Roll(float(chances[i]), float(ahead[i]), float(examples.token[i]))
        found.setdefault(int(examples.window[i]), []).append(roll)
    return list(found.values())


def speedup(rounds: Sequence[Sequence[Roll]], costs: Costs) -> float:
    """At the best bound on the chance that all stand, and the next one too where that is foreseen."""
    return max(_rate(rounds, bound, costs) for bound in BOUNDS)


def _rate(rounds: Sequence[Sequence[Roll]], bound: float, costs: Costs) -> float:
    tokens = spent = 0.0
    for one in rounds:
        predicted = actual = tokens_here = 1.0
        drafted = 0
        for roll in one:
            drafted, predicted, actual = drafted + 1, predicted * roll.chance, actual * roll.actual
            tokens_here += actual
            if predicted * roll.next < bound:
                break
        tokens, spent = tokens + tokens_here, spent + costs.round(drafted)
    return tokens / spent


def at(examples: Examples, temperature: float) -> Tensor:
    return (examples.features[:, 3] - temperature).abs() < 1e-3


def line(name: str, dev: Examples, chances: Tensor, ahead: Tensor, costs: dict[str, dict[float, Costs]]) -> str:
    """AUROC, and the speed-up of each pair, by temperature."""
    cells = []
    for heat in TEMPERATURES:
        kept = at(dev, heat)
        part = dev.some(kept)
        rounds = rolls(part, chances[kept], ahead[kept])
        gains = ", ".join(f"{speedup(rounds, known[heat]):.3f}" for known in costs.values())
        cells.append(f"{auroc(chances[kept], part.token, part.standing):.4f}: {gains}")
    return f"| {name} | {' | '.join(cells)} |"


def table(train: Examples, dev: Examples, costs: dict[str, dict[float, Costs]], epochs: int) -> None:
    """One line as each is known."""
    hidden, sure = dev.hidden.shape[1], torch.ones(len(dev))
    heats = " | ".join(f"T = {heat:g}" for heat in TEMPERATURES)
    print(f"| AUROC: × {', × '.join(costs)} | {heats} |\n|{'---|' * (1 + len(TEMPERATURES))}")
    print(line("q alone", dev, torch.sigmoid(logit_q(dev)[:, 0]), sure, costs), flush=True)
    for name, (depth, more) in KINDS.items():
        head = fitted(depth, read(train, more), train.token, train.standing, hidden, epochs)
        with torch.inference_mode():
            chances = torch.sigmoid(head(read(dev, more)).squeeze(-1))
        print(line(name, dev, chances, sure, costs), flush=True)
    labels, has = next_labels(train)
    foresees = fitted(1, read(train, more), labels, train.standing * train.token * has, hidden, epochs)
    with torch.inference_mode():
        ahead = torch.sigmoid(foresees(read(dev, more)).squeeze(-1))
    print(line("the last one, and what one block foresees of the next token", dev, chances, ahead, costs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--train", type=int, default=6000, help="texts to fit heads on")
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as room:
        known = {name: SpecDecoder(*pair, "product:0.3") for name, pair in pairs(Path(room)).items()}
        costs = {
            name: {heat: measure(pair, temperature=heat).rule for heat in TEMPERATURES} for name, pair in known.items()
        }
        pair, settings = known["zoo"], Training(temperatures=TEMPERATURES)
        texts, others = make_texts(pair, read_prompts(options.prompts), settings, options.work, Progress())
        table(_rolled(pair, texts[: options.train], 0).that_matter(), _rolled(pair, others, 1), costs, options.epochs)


def _rolled(pair: SpecDecoder, texts: Sequence[Text], seed: int) -> Examples:
    assert pair.draft is not None
    models = pair.target.model, pair.draft.model
    return roll_out(*models, texts, horizon=LIMIT, mix=0.0, seed=seed, eos=pair.target.eos)


if __name__ == "__main__":
    main()
