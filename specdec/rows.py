"""One row of a batch: its tokens, its settings, and when it is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from specdec.params import Sampling
from specdec.policies.base import Policy, Signal
from specdec.sampling import Draws
from specdec.text import TextStream
from specdec.verify import Verdict

if TYPE_CHECKING:
    from torch import Tensor

Finish = Literal["stop", "length"]


@dataclass(slots=True)
class Row:
    """tokens: prompt and output. prompt: tokens of the prompt. room: the most tokens the row may ever hold.

    rounds: target passes. drafted, accepted: tokens proposed to them, and those that stood. text: None where nobody
    reads it before the end. note: a remark for the caller, "" for none.
    """

    index: int
    tokens: list[int]
    prompt: int
    room: int
    sampling: Sampling
    policy: Policy
    draws: Draws
    eos: frozenset[int]
    text: TextStream | None = None
    note: str = ""
    logprobs: list[float] = field(default_factory=list)
    rounds: int = 0
    drafted: int = 0
    accepted: int = 0
    finish: Finish | None = None

    @property
    def output(self) -> list[int]:
        return self.tokens[self.prompt :]

    def most_drafts(self, batch: int) -> int:
        """How many tokens to draft at most: the target adds one of its own to those that stand."""
        return max(0, min(self.policy.limit(batch), self.room - len(self.tokens) - 1))

    def take(self, draft: Draft, verdict: Verdict) -> None:
        """The outcome of a round: add the tokens that stand, up to the one that ends the row, and let the policy
        learn."""
        self.rounds += 1
        self.drafted += len(draft.tokens)
        if draft.trail:
            self.policy.learn(draft.trail, verdict.accepted)
        for place, token in enumerate((*draft.tokens[: verdict.accepted], verdict.token)):
            self.accepted += place < verdict.accepted
            if self.push(token):
                break
        if self.sampling.logprobs:
            del self.logprobs[len(self.tokens) - self.prompt :]

    def push(self, token: int) -> bool:
        """Add a token; True when the row is over (nothing may follow)."""
        self.tokens.append(token)
        if token in self.eos or (self.text is not None and self.text.push(token)):
            self.finish = "stop"
        elif len(self.tokens) >= self.room:
            self.finish = "length"
        return self.finish is not None


@dataclass(slots=True)
class Draft:
    """What was drafted for one row in one round. q[i]: float [vocab], the warped distribution tokens[i] was drawn
    from; empty at temperature 0, where q is one-hot. trail[i]: the signals token i gave."""

    tokens: list[int] = field(default_factory=list)
    trail: list[Signal] = field(default_factory=list)
    q: list[Tensor] = field(default_factory=list)
