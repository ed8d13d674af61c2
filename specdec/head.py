"""The acceptance head: from the draft's hidden state at a drafted token to the chance that the target accepts it.

SpecDec++ (arXiv 2405.19715, section 3.3): D residual blocks x + SiLU(Wx + b), then a linear layer of two outputs,
accept being the second. Beside the hidden state this head reads what the drawn token looked like to the draft: see
FEATURES.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specdec.errors import SpecDecError
from specdec.policies.base import LIMIT, Need, Signal
from specdec.policies.logistic import logit, sigmoid

FEATURES = ("token_logit", "peak_logit", "entropy", "place", "temperature")
"""logit of q(x) and of max q, divided by 5; entropy in nats; place in the round, divided by LIMIT; temperature."""


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """width: of the draft's hidden state. depth: D ≥ 0. features: whether FEATURES follow the hidden state.

    shared_blocks: one block applied D times, the form of the authors' checkpoints. lag: 1 where the prediction at a
    state is about the token that state has just consumed (the authors' heads), 0 where it is about the token drawn
    from it.
    low, high: temperatures trained for. scale, shift: calibration, logit ↦ scale·logit + shift. threshold: the
    derived h, by the costs of the machine it was trained on. multiplier: the factor on ρ·(c + c_v) tuned with it.
    sure, sure_scale, sure_shift: of a token of at least this q(x) the blocks are not asked: it is taken to stand with
    chance σ(sure_scale·logit q + sure_shift). Most tokens are such ones, and there is little to learn about them.
    2 = all are asked about. asked: the share of drafted tokens that are. stages: (batch, h, the most tokens of a
    draft) from so many rows on, tuned where it was trained (`specdec.stages`).
    """

    width: int
    depth: int = 3
    features: bool = True
    shared_blocks: bool = False
    lag: int = 0
    low: float = 0.0
    high: float = 1.0
    scale: float = 1.0
    shift: float = 0.0
    threshold: float | None = None
    multiplier: float = 1.0
    sure: float = 2.0
    sure_scale: float = 1.0
    sure_shift: float = 0.0
    asked: float = 1.0
    stages: tuple[tuple[int, float, int], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple((int(n), float(h), int(most)) for n, h, most in self.stages))

    @property
    def inputs(self) -> int:
        """Width of the blocks: hidden state and features side by side."""
        return self.width + (len(FEATURES) if self.features else 0)


class ResidualBlock(nn.Module):
    """x + SiLU(Wx + b)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        # Zero at the start: the head begins as its last layer alone, and depth cannot hurt what is learnt first.
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[n, width] → [n, width]."""
        more: Tensor = F.silu(self.linear(x))
        return x + more


class AcceptanceHead(nn.Module):
    """The trained head and its calibration."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        first = ResidualBlock(config.inputs)
        more = [first if config.shared_blocks else ResidualBlock(config.inputs) for _ in range(config.depth - 1)]
        self.blocks = nn.ModuleList([first, *more] if config.depth else [])
        self.out = nn.Linear(config.inputs, 2)

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"probs", "entropy"}) if self.config.features else frozenset()

    @property
    def temperatures(self) -> tuple[float, float]:
        """The lowest and the highest temperature trained for."""
        return self.config.low, self.config.high

    def covers(self, temperature: float) -> bool:
        """Whether the head was trained for this temperature."""
        return self.config.low <= temperature <= self.config.high

    def check(self, width: int, draft: str) -> None:
        """Refuse a draft whose hidden state has another width than the head was trained on."""
        if width != self.config.width:
            raise SpecDecError(
                f"the head was trained on a hidden state of {self.config.width} and draft {draft} has {width}: "
                "use the draft it was trained with, or train a head for this one (python -m specdec train)"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Raw accept logit (second output minus first) of float [n, inputs] → [n]."""
        for block in self.blocks:
            x = block(x)
        both: Tensor = self.out(x)
        return both[:, 1] - both[:, 0]

    def calibrated(self, x: Tensor) -> Tensor:
        """P(accept), [n, inputs] → [n]."""
        found = self.config.scale * self(x) + self.config.shift
        if not self._spares:
            return torch.sigmoid(found)
        known = self.config.sure_scale * self.token_logits(x) + self.config.sure_shift
        return torch.sigmoid(torch.where(self.surely(x), known, found))

    def surely(self, x: Tensor) -> Tensor:
        """Of which lines of x the blocks are not asked, bool [n]."""
        if not self._spares:
            return torch.zeros(len(x), dtype=torch.bool, device=x.device)
        # The margin is for what float32 makes of a logit that lies on the bound.
        return self.token_logits(x) >= logit(self.config.sure) - 1e-5

    def token_logits(self, x: Tensor) -> Tensor:
        """logit q of the drawn tokens, [n, inputs] → [n]; only with features."""
        return 5 * x[:, self.config.width]

    @property
    def _spares(self) -> bool:
        return self.config.features and self.config.sure <= 1

    def tuned(self, *, scale: float, shift: float) -> AcceptanceHead:
        """The same weights with another calibration."""
        return self._with(replace(self.config, scale=scale, shift=shift))

    def with_sure(self, sure: float, scale: float = 1.0, shift: float = 0.0) -> AcceptanceHead:
        """The same weights, not asked about tokens of at least this q(x), which stand with chance σ(scale·logit q +
        shift)."""
        return self._with(replace(self.config, sure=sure, sure_scale=scale, sure_shift=shift))

    def with_asked(self, asked: float) -> AcceptanceHead:
        """The same weights, known to be asked about this share of the drafted tokens."""
        return self._with(replace(self.config, asked=asked))

    def with_stages(self, stages: Sequence[tuple[int, float, int]]) -> AcceptanceHead:
        """The same weights with what was tuned for each number of rows."""
        return self._with(replace(self.config, stages=tuple(stages)))

    def with_threshold(self, threshold: float, multiplier: float = 1.0) -> AcceptanceHead:
        """The same weights with another derived h, and the multiplier it was derived with."""
        return self._with(replace(self.config, threshold=threshold, multiplier=multiplier))

    def _with(self, config: HeadConfig) -> AcceptanceHead:
        # Its first weights are drawn at random, and overwritten.
        with torch.random.fork_rng(devices=[]):
            other = AcceptanceHead(config)
        other.load_state_dict(self.state_dict())
        return other.eval()


class _Room(NamedTuple):
    """Where a prediction is computed. x: the head's input, made of hidden and features. sums: what each layer is given
    so far, the layers side by side; blocks: of each block, rests: of all layers after it, logits: of the last layer."""

    x: Tensor
    hidden: Tensor
    features: Tensor
    sums: Tensor
    blocks: list[Tensor]
    rests: list[Tensor]
    logits: Tensor


class HeadPredictor:
    """A trained head made ready for the loop (see `specdec.signals.Predictor`), its calibration folded into the last
    layer. Later changes of the head do not reach it.

    The head adds up x and what each block makes of the sum so far, and every later layer is linear in that sum. So what
    x and each block add to all later layers is one product: D + 1 products and D activations in all, in room that is
    kept. For one thread at a time.
    """

    def __init__(self, head: AcceptanceHead, dtype: torch.dtype, device: torch.device) -> None:
        self.needs, self._config = head.needs, head.config
        self.sure = head.config.sure if head.config.features else 2.0
        layers = [module.linear for module in head.blocks if isinstance(module, ResidualBlock)]
        # The accept logit is the difference of the two outputs, so one column is enough.
        weight, bias = head.out.weight.detach(), head.out.bias.detach()
        scale, shift = head.config.scale, head.config.shift
        columns = [*(layer.weight.detach().t() for layer in layers), (weight[1:] - weight[:1]).t() * scale]
        offsets = [*(layer.bias.detach() for layer in layers), (bias[1:] - bias[:1]) * scale + shift]
        later = [torch.cat(columns[i:], dim=-1) for i in range(len(columns))]
        self._later = [part.to(dtype=dtype, device=device).contiguous() for part in later]
        self._offsets = torch.cat(offsets).to(dtype=dtype, device=device)
        self._rooms: dict[int, _Room] = {}

    def predict(
        self, hidden: Tensor, found: Sequence[Signal], places: Sequence[int], temperatures: Sequence[float]
    ) -> list[float]:
        sure = [signal.token_prob >= self.sure for signal in found]
        if all(sure):
            return [self._known(signal) for signal in found]
        room = self._room(len(found))
        room.hidden.copy_(hidden)
        if self._config.features:
            lines = [features(*known) for known in zip(found, places, temperatures, strict=True)]
            room.features.copy_(torch.tensor(lines, dtype=hidden.dtype))
        torch.addmm(self._offsets, room.x, self._later[0], out=room.sums)
        for mine, rest, later in zip(room.blocks, room.rests, self._later[1:], strict=True):
            rest.addmm_(F.silu(mine, inplace=True), later)
        logits: list[float] = room.logits.tolist()
        answers = zip(logits, sure, found, strict=True)
        chances = [self._known(signal) if plain else sigmoid(value) for value, plain, signal in answers]
        if self._config.lag:
            chances = [1.0 if place == 1 else chance for place, chance in zip(places, chances, strict=True)]
        return chances

    def _known(self, signal: Signal) -> float:
        """Of a token that the blocks are not asked about."""
        return sigmoid(self._config.sure_scale * logit(signal.token_prob) + self._config.sure_shift)

    def _room(self, count: int) -> _Room:
        if count not in self._rooms:
            # Not tensors of the inference mode alone: the room outlives the call, and the mode.
            with torch.inference_mode(False):
                self._rooms[count] = self._new_room(count)
        return self._rooms[count]

    def _new_room(self, count: int) -> _Room:
        width, depth = self._config.inputs, len(self._later) - 1
        x = self._offsets.new_zeros(count, width)
        sums = self._offsets.new_zeros(count, len(self._offsets))
        blocks = [sums[:, i * width : (i + 1) * width] for i in range(depth)]
        rests = [sums[:, (i + 1) * width :] for i in range(depth)]
        hidden = self._config.width
        return _Room(x, x[:, :hidden], x[:, hidden:], sums, blocks, rests, sums[:, -1])


def features(signal: Signal, place: int, temperature: float) -> tuple[float, ...]:
    """The values of FEATURES for one drafted token."""
    return (
        logit(signal.token_prob) / 5,
        logit(signal.max_prob) / 5,
        signal.entropy,
        place / LIMIT,
        temperature,
    )


def save_head(head: AcceptanceHead, folder: str | Path) -> None:
    """Write `head.json` and `head.safetensors`."""
    from safetensors.torch import save_file

    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    (path / "head.json").write_text(json.dumps(asdict(head.config), indent=1) + "\n", encoding="utf-8")
    # Shared blocks are one tensor under several names, which the file format refuses; `load_head` knows that they are
    # one.
    state = {
        name: value for name, value in head.state_dict().items() if not (head.config.shared_blocks and _repeated(name))
    }
    save_file({name: value.contiguous() for name, value in state.items()}, path / "head.safetensors")


def load_head(folder: str | Path) -> AcceptanceHead:
    """Read a head folder. Raises SpecDecError where it is missing or does not hold what its `head.json` says."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(folder)
    if not (path / "head.json").is_file() or not (path / "head.safetensors").is_file():
        raise SpecDecError(
            f"no acceptance head at {path}: head.json and head.safetensors are needed (python -m specdec train)"
        )
    try:
        head = AcceptanceHead(HeadConfig(**json.loads((path / "head.json").read_text(encoding="utf-8"))))
        _load_weights(head, load_file(path / "head.safetensors"))
    except (TypeError, ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise SpecDecError(f"the head at {path} is damaged: {str(error).splitlines()[0]}") from error
    return head.eval()


def load_authors(state: dict[str, Tensor], *, shared_blocks: bool = True) -> AcceptanceHead:
    """A head from a checkpoint of the authors' form: `*.N.linear.*` for block N and a last linear layer of two outputs.

    Theirs repeat one module, so every block has the same weights (shared_blocks=True keeps them one); no features,
    lag 1, and they were trained at temperature 1. Their uncalibrated output is used as it is.
    """
    blocks = sorted({int(part) for name in state for part in name.split(".") if part.isdigit()})
    last = blocks[-1]
    width = state[_named(state, last, "weight")].shape[1]
    config = HeadConfig(
        width, depth=len(blocks) - 1, features=False, shared_blocks=shared_blocks, lag=1, low=1.0, high=1.0
    )
    head = AcceptanceHead(config)
    mine = {f"out.{kind}": state[_named(state, last, kind)] for kind in ("weight", "bias")}
    for place, number in enumerate(blocks[:-1]):
        mine |= {f"blocks.{place}.linear.{kind}": state[_named(state, number, kind)] for kind in ("weight", "bias")}
    head.load_state_dict(mine)
    return head.eval()


def _named(state: dict[str, Tensor], block: int, kind: str) -> str:
    return next(name for name in state if str(block) in name.split(".") and name.endswith(kind))


def _repeated(name: str) -> bool:
    return name.startswith("blocks.") and not name.startswith("blocks.0.")


def _load_weights(head: AcceptanceHead, state: dict[str, Tensor]) -> None:
    if any(not math.isfinite(float(value.abs().max())) for value in state.values() if value.numel()):
        raise ValueError("its weights hold NaN or infinity")
    missing, unexpected = head.load_state_dict(state, strict=False)
    missing = [name for name in missing if not (head.config.shared_blocks and _repeated(name))]
    if missing or unexpected:
        raise ValueError(f"its tensors do not match head.json (missing {missing}, unexpected {unexpected})")
