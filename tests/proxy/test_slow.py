"""What an answer writes in one turn of the event loop leaves in one piece. (The clock: see test_bounds.)"""

from __future__ import annotations

import asyncio

from archon.proxy.slow import Corked


class Transport:
    """Notes what reaches it."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closed = False
        self.peer = "them"

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


async def test_writes_of_one_turn_are_one_write() -> None:
    inner = Transport()
    corked = Corked(inner, asyncio.get_running_loop())
    corked.write(b"head ")
    corked.write(b"body")
    assert inner.pieces == []
    await asyncio.sleep(0)
    assert inner.pieces == [b"head body"]
    corked.write(b"more")
    await asyncio.sleep(0)
    assert inner.pieces == [b"head body", b"more"]


async def test_closing_writes_what_is_held() -> None:
    inner = Transport()
    corked = Corked(inner, asyncio.get_running_loop())
    corked.write(b"last")
    corked.close()
    assert inner.pieces == [b"last"]
    assert inner.closed
    await asyncio.sleep(0)
    assert inner.pieces == [b"last"], "and not once more"


async def test_nothing_is_written_to_a_client_that_has_gone() -> None:
    inner = Transport()
    corked = Corked(inner, asyncio.get_running_loop())
    corked.write(b"late")
    inner.closed = True
    await asyncio.sleep(0)
    assert inner.pieces == []
    assert corked.is_closing()


async def test_everything_else_is_the_transports_own() -> None:
    assert Corked(Transport(), asyncio.get_running_loop()).peer == "them"
