"""Every error this project raises on purpose, as one tree.

    ArchonError                 a sentence for the user: what is wrong, where, how to mend it
    ├── ConfigError             a file, flag or argument the user wrote is wrong (exit code 2)
    │   ├── ArchitectureError   an architecture that cannot be built (cycle, unknown layer, broken rule)
    │   ├── UnknownNameError    a name not in a table; lists the known ones
    │   └── MissingExtraError   a feature whose optional dependency is not installed
    ├── BudgetError             a call refused because the budget has no room for it
    ├── DeadlineError           the run's time is over
    ├── ClientError             a model call failed
    │   ├── RetryableError      ... in a way that may pass: 408, 409, 429, 5xx, timeout, broken connection
    │   ├── AuthError           ... because the key is missing or refused (401, 403)
    │   ├── RequestError        ... because the model refuses this request (other 4xx)
    │   └── ContextOverflowError  the prompt does not fit the model's context
    ├── UnparseableError        a model's text is not of the form its role asks for
    ├── NodeError               a node of the graph has fewer answers than its quorum
    └── RunError                no answer could be produced; holds every cause
        └── DeadlineRunError    ... before the run's deadline

Messages never hold secrets or whole prompts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archon.types import Completion


class ArchonError(Exception):
    """Base of all errors whose text is written for the user."""


class ConfigError(ArchonError):
    """Something the user wrote is wrong; nothing was called or spent."""


class ArchitectureError(ConfigError):
    """An architecture that cannot be built; the message names the node, the rule and the fix."""


class UnknownNameError(ConfigError):
    """A name that is in no table. The message suggests the nearest and lists the known ones."""

    def __init__(self, what: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=1)
        suggestion = f" Did you mean {near[0]!r}?" if near else ""
        listed = ", ".join(names) if names else "none"
        super().__init__(f"unknown {what} {name!r}.{suggestion} Known: {listed}.{' ' + hint if hint else ''}")
        self.name = name


class MissingExtraError(ConfigError):
    """A feature needs an optional dependency."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs the extra [{extra}]: pip install 'archon-engine[{extra}]'")
        self.extra = extra


class BudgetError(ArchonError):
    """A call was refused: the budget cannot hold its worst case, now or later."""


class DeadlineError(ArchonError):
    """The run's deadline has passed."""


class ClientError(ArchonError):
    """A model call failed.

    Attributes:
        status: HTTP status of the upstream, where there was one.
        retry_after: seconds the upstream asked to wait, where it did.
        billed: False when it is certain that the call cost nothing; None when the bill is unknown.
        completion: the answer (an `archon.types.Completion`, its text left out) where the call itself went well and was
            paid for, but what it gave is not usable; its usage is part of what the run cost.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        billed: bool | None = None,
        completion: Completion | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.billed = billed
        self.completion = completion


class RetryableError(ClientError):
    """A failure that may pass: 408, 409, 429, 5xx, a timeout, a broken connection."""


class AuthError(ClientError):
    """The key is missing or refused (401, 403)."""


class RequestError(ClientError):
    """The model refuses this request; repeating it would fail again."""


class ContextOverflowError(RequestError):
    """The prompt does not fit the model's context."""


class UnparseableError(ArchonError):
    """A model's text is not of the form its role asks for."""


class NodeError(ArchonError):
    """A node ended with fewer answers than its quorum."""

    def __init__(self, node: str, message: str, causes: Sequence[BaseException] = ()) -> None:
        super().__init__(f"node {node!r}: {message}{_listed(causes)}")
        self.node = node
        self.causes = tuple(causes)


class RunError(ArchonError):
    """No answer could be produced. An error is never an answer.

    Attributes:
        causes: every node's failure.
        trace: what had happened until then (an `archon.trace.Trace`), for a look at what went wrong.
    """

    def __init__(self, message: str, causes: Sequence[BaseException] = (), trace: object = None) -> None:
        super().__init__(f"{message}{_listed(causes)}")
        self.causes = tuple(causes)
        self.trace = trace


class DeadlineRunError(RunError):
    """No answer could be produced before the run's deadline."""


def _listed(causes: Sequence[BaseException]) -> str:
    """The distinct causes with their counts, the most frequent first, on one line."""
    texts: dict[str, int] = {}
    for cause in causes:
        text = str(cause) or type(cause).__name__
        texts[text] = texts.get(text, 0) + 1
    parts = [f"{text} (×{n})" if n > 1 else text for text, n in sorted(texts.items(), key=lambda kv: -kv[1])]
    return ": " + "; ".join(parts) if parts else ""
