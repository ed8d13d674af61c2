"""A bound on how long work may take, told apart from other people's cancellations."""

from __future__ import annotations

import asyncio

import pytest

from archon.proxy.deadline import Deadline


async def test_work_in_time_is_left_alone() -> None:
    with Deadline(60.0):
        await asyncio.sleep(0)
    await asyncio.sleep(0)  # nothing is left behind that would cancel what follows


async def test_work_that_takes_too_long_is_ended() -> None:
    with pytest.raises(TimeoutError), Deadline(0.001):
        await asyncio.get_running_loop().create_future()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "the task is not taken for cancelled afterwards"


async def test_a_cancellation_from_outside_stays_one() -> None:
    async def work() -> None:
        with Deadline(60.0):
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_other_failures_pass_through() -> None:
    with pytest.raises(ValueError, match="mine"), Deadline(60.0):
        raise ValueError("mine")
