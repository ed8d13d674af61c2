"""Amounts of calls, tokens and money, and bounds on them: the arithmetic of budgets, without time or waiting."""

from __future__ import annotations

import math
from dataclasses import dataclass

from archon.errors import ConfigError


def micro_usd(cost: float) -> int:
    """US dollars as whole micro-dollars, rounded up; a millionth of a micro-dollar is float noise and is not."""
    return math.ceil(round(cost * 1e6, 6))


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of calls, tokens and micro-dollars."""

    calls: int = 0
    tokens: int = 0
    """Prompt and completion tokens together."""
    micro_usd: int = 0
    """Millionths of a US dollar; priced calls only."""
    unpriced: int = 0
    """How many of the calls have no known price."""

    @property
    def cost_usd(self) -> float | None:
        """US dollars; None = at least one call's price is unknown."""
        return None if self.unpriced else self.micro_usd / 1e6

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.calls + other.calls,
            self.tokens + other.tokens,
            self.micro_usd + other.micro_usd,
            self.unpriced + other.unpriced,
        )

    def __sub__(self, other: Amount) -> Amount:
        return Amount(
            self.calls - other.calls,
            self.tokens - other.tokens,
            self.micro_usd - other.micro_usd,
            self.unpriced - other.unpriced,
        )

    def fields(self) -> list[int]:
        """The four numbers, in the order of the constructor."""
        return [self.calls, self.tokens, self.micro_usd, self.unpriced]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Upper bounds on an amount. None = no bound."""

    calls: int | None = None
    tokens: int | None = None
    micro_usd: int | None = None

    @classmethod
    def checked(cls, calls: int | None, tokens: int | None, usd: float | None) -> Bounds:
        """The bounds, dollars rounded down to whole micro-dollars. Raises ConfigError where one makes no sense."""
        for name, value in (("calls", calls), ("tokens", tokens), ("usd", usd)):
            check_bound(name, value)
        return cls(calls, tokens, None if usd is None else math.floor(round(usd * 1e6, 6)))

    def excess(self, total: Amount) -> list[str]:
        """Names of the bounds that `total` is over."""
        pairs = (
            ("calls", total.calls, self.calls),
            ("tokens", total.tokens, self.tokens),
            ("USD", total.micro_usd, self.micro_usd),
        )
        return [name for name, amount, bound in pairs if bound is not None and amount > bound]

    def account(self, name: str, want: Amount, spent: Amount, held: Amount) -> str:
        """One bound's state as words: what a call would need, what is left, what is spent and reserved."""
        field = "micro_usd" if name == "USD" else name
        bound = getattr(self, field) or 0
        asked, gone, reserved = (getattr(amount, field) for amount in (want, spent, held))
        numbers = (asked, max(0, bound - gone), bound, gone, reserved)
        told = [f"{number / 1e6:.6f}" if name == "USD" else f"{number:,}" for number in numbers]
        return (
            f"it would reserve {told[0]} {name}, {told[1]} of {told[2]} {name} are left "
            f"({told[3]} spent, {told[4]} reserved by calls under way)"
        )


def check_bound(name: str, value: float | None) -> None:
    """Raises ConfigError where a bound is negative or no number."""
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"budget: {name} must be a number ≥ 0, got {value}")
