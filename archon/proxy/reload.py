"""SIGHUP reads the architecture files again, all or none: a broken file leaves the old ones serving.

With several workers uvicorn's parent takes the signal and puts a new worker into service before it retires an old one.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable

from archon.errors import ArchonError

logger = logging.getLogger("archon.proxy.reload")


def install(reload: Callable[[], str]) -> Callable[[], None]:
    """Calls `reload` at every SIGHUP, off the event loop, one at a time; returns what takes the handler away again.

    Args:
        reload: reads everything, then swaps it in at once, and says in a few words what is served now. Where it raises,
            it must have changed nothing.
    """
    loop = asyncio.get_running_loop()
    turn = asyncio.Lock()
    running: set[asyncio.Task[None]] = set()

    async def again() -> None:
        async with turn:
            await attempt(reload)

    def start() -> None:
        task = loop.create_task(again())
        running.add(task)
        task.add_done_callback(running.discard)

    loop.add_signal_handler(signal.SIGHUP, start)
    return lambda: _remove(loop)


async def attempt(reload: Callable[[], str]) -> bool:
    """One reload; False where it failed and the old state goes on serving."""
    try:
        served = await asyncio.to_thread(reload)
    except ArchonError as error:
        logger.error("reload refused, what was served goes on: %s", error)
        return False
    except Exception:
        logger.exception("reload failed, what was served goes on")
        return False
    logger.info("reloaded: %s", served)
    return True


def _remove(loop: asyncio.AbstractEventLoop) -> None:
    if not loop.is_closed():
        loop.remove_signal_handler(signal.SIGHUP)
