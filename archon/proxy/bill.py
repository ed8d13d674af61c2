"""What one passed-through call cost, told to the ledger and kept for headers, metrics and the log."""

from __future__ import annotations

from collections.abc import Mapping

from archon.amounts import micro_usd
from archon.clients.wire import read_usage
from archon.proxy.http import room
from archon.proxy.ledger import Hold
from archon.proxy.unmetered import FreeHold
from archon.types import Price, Usage

_UNREPORTED = Usage(calls=1, cost_usd=None)


class Bill:
    """Of `settle`, `worst` and `release` the first counts.

    Attributes:
        room: headers that say what is left to the key.
        sent: whether the call was begun.
        usage: as reported; no tokens and an unknown cost where nothing was.
        micro_usd: charged.
        flagged: whether that is the worst case.
        told: whether metrics and log know of the call.
    """

    def __init__(self, hold: Hold | FreeHold, price: Price | None, model: str) -> None:
        self._hold, self._price, self.model = hold, price, model
        self.room = room(hold)
        self.usage = _UNREPORTED
        self.micro_usd = 0
        self.sent = self.flagged = self.told = self._closed = False

    def settle(self, reported: object, seconds: float) -> None:
        """By the reported usage; where it says nothing, the worst case."""
        usage = _read(reported, self._price, seconds)
        if usage is None:
            self.worst("the upstream reported no usage")
        elif self._first():
            cost = usage.cost_usd
            self.usage = usage
            self.micro_usd = self._hold.micro_usd if cost is None else micro_usd(cost)
            self._hold.settle(self.micro_usd, usage.tokens)

    def worst(self, reason: str) -> None:
        """The call may have cost as much as that, and nobody says."""
        if self._first():
            self.micro_usd, self.flagged = self._hold.micro_usd, True
            self._hold.settle_worst(reason)

    def release(self) -> None:
        """The call certainly cost nothing."""
        if self._first():
            self._hold.release()

    def close(self) -> None:
        """The end, however it was reached: without a call nothing is owed, without a bill the worst case."""
        if self.sent:
            self.worst("the answer did not come to its end")
        else:
            self.release()

    @property
    def known(self) -> bool:
        """Whether it was settled by a reported usage."""
        return self.usage is not _UNREPORTED

    @property
    def header(self) -> bytes:
        """The cost, US dollars."""
        cost = self.usage.cost_usd
        return b"unknown" if cost is None else f"{cost:.6f}".encode()

    def _first(self) -> bool:
        first, self._closed = not self._closed, True
        return first


def _read(reported: object, price: Price | None, seconds: float) -> Usage | None:
    """The usage; None where nothing is reported, or what no model can have used."""
    if not isinstance(reported, Mapping):
        return None
    try:
        usage = read_usage(reported, price, seconds)
    except (TypeError, ValueError, AttributeError, OverflowError):
        return None
    return usage if usage.prompt_tokens > 0 else None
