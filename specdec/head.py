"""The acceptance head: from the draft's hidden state at a drafted token to the chance that the target accepts it.

SpecDec++ (arXiv 2405.19715, section 3.3): D residual blocks x + SiLU(Wx + b), then a linear layer of two outputs,
accept being the second. Beside the hidden state this head reads what the drawn token looked like to the draft: see
FEATURES.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specdec.head_config import FEATURES, SCALES, HeadConfig
from specdec.policies.base import Need, Signal
from specdec.policies.logistic import logit
from specdec.stopping import Stopping


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
        if config.features:
            self._begin_with_the_draft()

    def _begin_with_the_draft(self) -> None:
        """Before anything is learnt the accept logit is that of q(x): from there training can only gain. From nowhere
        it took more steps than there were to get so far (3,500 prompts, three epochs, temperature 1: AUROC 0.929 where
        0.946 is to be had)."""
        with torch.no_grad():
            self.out.weight.zero_()
            self.out.bias.zero_()
            self.out.weight[:, self.config.width] = torch.tensor([-0.5, 0.5]) * SCALES[0]

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"probs"}) if self.config.features else frozenset()

    @property
    def temperatures(self) -> tuple[float, float]:
        """The lowest and the highest temperature trained for."""
        return self.config.low, self.config.high

    def covers(self, temperature: float) -> bool:
        """Whether the head was trained for this temperature."""
        return self.config.covers(temperature)

    def check(self, width: int, draft: str) -> None:
        """Refuse a draft whose hidden state has another width than the head was trained on."""
        self.config.check(width, draft)

    def forward(self, x: Tensor) -> Tensor:
        """Raw accept logit (second output minus first) of float [n, inputs] → [n]."""
        for block in self.blocks:
            x = block(x)
        both: Tensor = self.out(x)
        return both[:, 1] - both[:, 0]

    def calibrated(self, x: Tensor) -> Tensor:
        """P(accept), [n, inputs] → [n]."""
        config, found = self.config, self.config.scale * self(x) + self.config.shift
        if config.features and config.sure <= 1:
            known = config.sure_scale * self.token_logits(x) + config.sure_shift
            found = torch.where(self._sure(x), known, found)
        if config.greedy is not None:
            scale, shift = config.greedy
            found = torch.where(self._cold(x), scale * self.token_logits(x) + shift, found)
        return torch.sigmoid(found)

    def surely(self, x: Tensor) -> Tensor:
        """Of which lines of x the head is not asked, bool [n]."""
        found = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        if self.config.features and self.config.sure <= 1:
            found = self._sure(x)
        return found if self.config.greedy is None else found | self._cold(x)

    def _sure(self, x: Tensor) -> Tensor:
        # The margin is for what float32 makes of a logit that lies on the bound.
        return self.token_logits(x) >= logit(self.config.sure) - 1e-5

    def _cold(self, x: Tensor) -> Tensor:
        return x[:, self.config.width + FEATURES.index("temperature")] == 0

    def token_logits(self, x: Tensor) -> Tensor:
        """logit q of the drawn tokens, [n, inputs] → [n]; only with features."""
        return SCALES[0] * x[:, self.config.width]

    def tuned(self, *, scale: float, shift: float) -> AcceptanceHead:
        """The same weights with another calibration."""
        return self._with(replace(self.config, scale=scale, shift=shift))

    def with_sure(self, sure: float, scale: float = 1.0, shift: float = 0.0) -> AcceptanceHead:
        """The same weights, not asked about tokens of at least this q(x), which stand with chance σ(scale·logit q +
        shift)."""
        return self._with(replace(self.config, sure=sure, sure_scale=scale, sure_shift=shift))

    def with_greedy(self, scale: float, shift: float) -> AcceptanceHead:
        """The same weights, not asked at temperature 0, where a token stands with chance σ(scale·logit q + shift); only
        with features."""
        return self._with(replace(self.config, greedy=(scale, shift)))

    def with_asked(self, asked: float) -> AcceptanceHead:
        """The same weights, known to be asked about this share of the drafted tokens."""
        return self._with(replace(self.config, asked=asked))

    def with_stopping(self, stopping: Stopping, cold: Stopping | None = None) -> AcceptanceHead:
        """The same weights, tuned anew. cold: at temperature 0, if otherwise there."""
        return self._with(replace(self.config, stopping=stopping, cold=cold))

    def _with(self, config: HeadConfig) -> AcceptanceHead:
        # Its first weights are drawn at random, and overwritten.
        with torch.random.fork_rng(devices=[]):
            other = AcceptanceHead(config)
        other.load_state_dict(self.state_dict())
        return other.eval()


def features(signal: Signal, place: int, temperature: float) -> tuple[float, ...]:
    """The values of FEATURES for one drafted token."""
    return (
        logit(signal.token_prob) / SCALES[0],
        logit(signal.max_prob) / SCALES[1],
        place / SCALES[2],
        temperature / SCALES[3],
    )
