"""Errors in OpenAI's envelope, with its types, codes and statuses; nothing that failed at an upstream becomes a 500.

    {"error": {"message": …, "type": …, "param": …, "code": …}}

`x-should-retry: false` goes with every error that would only spend again, because official clients repeat 408, 409, 429
and 5xx by themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import ceil
from typing import Any

from archon.errors import (
    ArchonError,
    AuthError,
    BudgetError,
    ClientError,
    ConfigError,
    ContextOverflowError,
    DeadlineError,
    DeadlineRunError,
    NodeError,
    RequestError,
    RunError,
)
from archon.proxy.quota import LedgerError, QuotaError

_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_REFUSALS = range(400, 500)
"""Statuses of an upstream that are passed on as they are; any other failure of an upstream is 502 or 503."""


class ApiError(ArchonError):
    """An answer that is an error.

    Attributes:
        status: of the HTTP answer.
        type, code, param: as in OpenAI's envelope.
        retry_after: seconds, sent as `Retry-After`.
        retry: False = repeating would only spend again; None = the client's own rules hold.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        kind: str | None = None,
        retry_after: float | None = None,
        retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = kind or _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
        self.code = code
        self.param = param
        self.retry_after = retry_after
        self.retry = retry

    def body(self) -> dict[str, Any]:
        """The envelope."""
        message = " ".join(str(self).split())
        return {"error": {"message": message, "type": self.type, "param": self.param, "code": self.code}}

    def encoded(self) -> bytes:
        """The envelope as JSON."""
        return json.dumps(self.body()).encode()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What goes with it."""
        found = []
        if self.retry_after is not None:
            found.append((b"retry-after", str(ceil(self.retry_after)).encode()))
        if self.retry is not None:
            found.append((b"x-should-retry", b"true" if self.retry else b"false"))
        return found


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A request that cannot be honoured; nothing was called."""
    return ApiError(400, message, param=param, code=code)


def from_error(error: BaseException, spent: bool = False) -> ApiError:
    """What a failure is to the client.

    Args:
        spent: whether something was paid before it failed, so that repeating the request would spend again.
    """
    if isinstance(error, ApiError):
        return error
    found = _translated(error)
    if spent:
        found.retry = False
    return found


def _translated(error: BaseException) -> ApiError:
    if isinstance(error, QuotaError):
        return ApiError(429, str(error), code=error.code, kind=error.code, retry_after=error.retry_after)
    if isinstance(error, LedgerError):
        return ApiError(503, str(error), code="ledger_unavailable")
    if isinstance(error, DeadlineRunError | DeadlineError):
        return ApiError(504, str(error), code="deadline_exceeded", kind="timeout_error", retry=False)
    if isinstance(error, ClientError):
        return _upstream(str(error), [error])
    if isinstance(error, RunError | NodeError):
        return _upstream(str(error), list(_causes(error)))
    if isinstance(error, BudgetError):
        return ApiError(400, str(error), code="cap_too_small", param="archon", retry=False)
    if isinstance(error, ConfigError):
        return ApiError(400, str(error))
    if isinstance(error, ArchonError):
        return ApiError(500, str(error), retry=False)
    return ApiError(500, f"internal error ({type(error).__name__})", code="internal_error", retry=False)


def _causes(error: BaseException) -> Iterator[ClientError]:
    """The failed calls behind a failed run."""
    for cause in getattr(error, "causes", ()):
        if isinstance(cause, ClientError):
            yield cause
        else:
            yield from _causes(cause)


def _upstream(message: str, causes: list[ClientError]) -> ApiError:
    """All calls failed alike: their status; else 502."""
    if causes and all(isinstance(cause, ContextOverflowError) for cause in causes):
        return ApiError(400, message, code="context_length_exceeded")
    statuses = {_status(cause) for cause in causes}
    waits = [cause.retry_after for cause in causes if cause.retry_after is not None]
    status = next(iter(statuses), 502)
    if len(statuses) == 1 and status in _REFUSALS:
        return ApiError(status, message, code=_CODES.get(status), retry_after=max(waits, default=None))
    status = 503 if statuses and statuses <= {503, 529} else 502
    return ApiError(status, message, code="upstream_error", retry_after=max(waits, default=None))


_CODES = {401: "upstream_refused_key", 403: "upstream_refused_key", 429: "rate_limit_exceeded"}


def _status(error: ClientError) -> int:
    if error.status is not None:
        return error.status
    if isinstance(error, AuthError):
        return 401
    return 400 if isinstance(error, RequestError) else 502
