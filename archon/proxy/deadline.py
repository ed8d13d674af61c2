"""A bound on how long work may take: `asyncio.timeout` at a fraction of its cost, since every request has one."""

from __future__ import annotations

import asyncio


class Deadline:
    """Cancels the work inside after `seconds`, and says so by TimeoutError.

    with Deadline(30.0):
        await work()
    """

    __slots__ = ("_before", "_late", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._late = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._before = task, task.cancelling()
        self._timer = task.get_loop().call_later(self._seconds, self._expire)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        if not self._late:
            return
        alone = self._task.uncancel() <= self._before  # else somebody else cancels it too, and is told so
        if alone and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from None

    def _expire(self) -> None:
        self._late = True
        self._task.cancel()
