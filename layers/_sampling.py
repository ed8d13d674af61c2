"""Settings that layers with a model share: how tokens are drawn, how many draws, and the words of the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from archon.types import PositiveInt, Sampling, Temperature

TopP = Annotated[float, Field(gt=0.0, le=1.0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """A layer that calls a model."""

    temperature: Temperature | None = 0.0
    """0 = greedy; None = not sent, the model's own default holds."""
    top_p: TopP | None = None
    """Nucleus mass in (0, 1]; None = not sent."""
    max_tokens: PositiveInt | None = None
    """Bound on each answer's tokens; None = the model table's."""
    prompt: str | None = None
    """A jinja2 template in place of the layer's own; `archon.prompts` lists the values it may use."""

    @property
    def sampling(self) -> Sampling:
        """What was set, as sampling settings."""
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_tokens)

    def words(self, default: str) -> str:
        """The user's template, or the layer's own."""
        return default if self.prompt is None else self.prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn(Sampled):
    """A layer that draws several answers to one request."""

    samples: PositiveInt = 1
    """Answers drawn."""
    quorum: PositiveInt = 1
    """Answers that must succeed, at most `samples`; with fewer the node fails."""
    temperature: Temperature | None = 0.7

    def __post_init__(self) -> None:
        if self.quorum > self.samples:
            raise ValueError(f"quorum must be at most samples, got quorum={self.quorum} and samples={self.samples}")
