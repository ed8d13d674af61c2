"""Judging calls of which some may fail: the siblings of a failed call go on, and the failure is recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TypeVar

from archon.errors import ArchonError, ContextOverflowError, NodeError
from archon.protocols import Context

T = TypeVar("T")


async def attempted(calls: Sequence[Awaitable[T]], ctx: Context, what: str) -> list[T | None]:
    """The results of `calls` made at once, in order, with None for each that failed.

    Raises:
        NodeError: every call failed; holds every cause.
    """
    results = await ctx.gather(*(_outcome(call) for call in calls))
    failures = [result for result in results if isinstance(result, ArchonError)]
    if failures and len(failures) == len(results):
        raise NodeError(ctx.node, f"no {what} succeeded", failures)
    if failures:
        ctx.note("failed", f"{len(failures)} of {len(results)} calls for a {what} failed", causes=[*map(str, failures)])
    return [None if isinstance(result, ArchonError) else result for result in results]


async def _outcome(call: Awaitable[T]) -> T | ArchonError:
    try:
        return await call
    except (NodeError, ContextOverflowError) as error:
        return error
