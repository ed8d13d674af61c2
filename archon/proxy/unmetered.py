"""The ledger of a server that keeps none: everything is granted, nothing is written down."""

from __future__ import annotations

from archon.proxy.book import Grant
from archon.proxy.ledger import Limits


class FreeHold:
    """A reservation of nothing."""

    def __init__(self, micro_usd: int, tokens: int) -> None:
        self.micro_usd, self.tokens = micro_usd, tokens
        self.grant: Grant | None = None

    def settle(self, micro_usd: int, tokens: int) -> None:
        """Nothing to charge."""

    def settle_worst(self, reason: str) -> None:
        """Nothing to charge."""

    def release(self) -> None:
        """Nothing to charge."""


class Unmetered:
    """In the place of a `Ledger`, on a service that is open and keeps no books."""

    async def reserve(
        self, key_id: str | None, limits: Limits | None, micro_usd: int, tokens: int, request_id: str
    ) -> FreeHold:
        """Always granted."""
        return FreeHold(micro_usd, tokens)

    async def flush(self) -> None:
        """Nothing to write."""

    async def aclose(self) -> None:
        """Nothing to close."""
