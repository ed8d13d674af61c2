"""What a stop policy sees and what it decides. No torch here: a policy is a rule over a few floats.

Lossless by construction: a policy is asked only *after* a token was drawn and only whether to draft another; every
drawn token goes to verification. So it may look at the drawn token (its probability), and no rule can bias the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, Self

from specdec.errors import SpecDecError

Need = Literal["probs", "entropy", "head"]

LIMIT = 24
"""The most tokens any adaptive policy drafts in one round unless told otherwise. The paper's bound is 20; where a draft
is sure of its tokens for long and costs little, four more are worth 1 %."""


class Signal(NamedTuple):
    """What is known of one drafted token. Probabilities are those of the served distribution (after the warpers); at
    temperature 0, where that is one-hot, those of the draft's own softmax.

    token_prob: q(x) of the drawn token. max_prob: max q. Both in [0, 1]; 1 where the policy does not need them.
    entropy: of q, nats. accept: the head's probability that the target accepts the token, in [0, 1].
    """

    token_prob: float = 1.0
    max_prob: float = 1.0
    entropy: float = 0.0
    accept: float = 1.0


class Policy(Protocol):
    """When to stop drafting. `trail` holds the signals of the tokens drafted in this round, oldest first, at least
    one."""

    @property
    def needs(self) -> frozenset[Need]:
        """The signals that must be computed; the others keep their defaults."""
        ...

    def limit(self, batch: int) -> int:
        """The most tokens to draft this round while `batch` rows decode together; 0 means a plain step."""
        ...

    def go_on(self, trail: Sequence[Signal], batch: int) -> bool:
        """Whether to draft one more token."""
        ...

    def learn(self, trail: Sequence[Signal], accepted: int) -> None:
        """What became of the round: the first `accepted` tokens of `trail` stood."""
        ...

    def for_row(self) -> Policy:
        """The policy one row uses: itself where rounds leave no trace in it, else a fresh copy (or a shared
        estimator)."""
        ...


def require(holds: bool, rule: str, value: object) -> None:
    """Refuse a setting of a policy."""
    if not holds:
        raise SpecDecError(f"{rule}; got {value}")


class Stateless:
    """The part of `Policy` that is the same for every rule that learns nothing between rounds."""

    __slots__ = ()

    def learn(self, trail: Sequence[Signal], accepted: int) -> None:
        """Nothing: the rule does not change."""

    def for_row(self) -> Self:
        return self
