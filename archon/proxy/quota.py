"""Why a key's request is refused before any call: its budget of the day, or its requests per minute."""

from __future__ import annotations

from archon.errors import ArchonError, BudgetError


class QuotaError(BudgetError):
    """A key has no room for a request. Nothing was called, nothing is charged. HTTP status 429.

    Attributes:
        code: "insufficient_quota" (the day's budget) or "rate_limit_exceeded" (requests per minute, or room that
            requests under way still hold); OpenAI's words.
        retry_after: seconds after which the same request may be granted.
    """

    def __init__(self, message: str, *, code: str, retry_after: float) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after


class LedgerError(ArchonError):
    """The ledger cannot be written, so nothing may be spent. HTTP status 503."""
