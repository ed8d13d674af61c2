"""SIGHUP: all or nothing, and a broken file changes nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import pytest

from archon.errors import ConfigError
from archon.proxy import reload


async def test_a_signal_reloads_and_the_handler_can_be_taken_away() -> None:
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def again() -> str:
        loop.call_soon_threadsafe(done.set)
        return "archon/x"

    remove = reload.install(again)
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(done.wait(), 60)
    finally:
        remove()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


async def test_signals_in_a_row_are_served_one_after_the_other() -> None:
    running, most, count = 0, 0, 0
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def again() -> str:
        nonlocal running, most, count
        running += 1
        most = max(most, running)
        running -= 1
        count += 1
        if count == 3:
            loop.call_soon_threadsafe(done.set)
        return ""

    remove = reload.install(again)
    try:
        for wanted in (1, 2, 3):
            os.kill(os.getpid(), signal.SIGHUP)
            while count < wanted:  # noqa: ASYNC110 - the reload runs in a thread
                await asyncio.sleep(0.001)
        await asyncio.wait_for(done.wait(), 60)
    finally:
        remove()
    assert most == 1


@pytest.mark.parametrize("error", [ConfigError("winner.yaml: no such layer"), ValueError("a bug")])
async def test_a_failed_reload_is_logged_and_is_no_failure(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def again() -> str:
        raise error

    with caplog.at_level(logging.INFO, "archon.proxy.reload"):
        assert await reload.attempt(again) is False
    assert "what was served goes on" in caplog.text


async def test_a_reload_says_what_is_served(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "archon.proxy.reload"):
        assert await reload.attempt(lambda: "archon/x, archon/y") is True
    assert "reloaded: archon/x, archon/y" in caplog.text
