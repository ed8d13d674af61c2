"""What the tests of wrappers share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from archon.clients.fake import FakeClient, FakeOptions
from archon.types import Chunk, Price, Request, Sampling, user

PRICE = Price(1, 2)
OPEN = Request((user("hi"),))
"""A request without a bound on its answer."""
ASKED = Request((user("hi"),), Sampling(max_tokens=10))


def fake(answers: Any = None, **options: Any) -> FakeClient:
    """A fake model that costs 1 and 2 micro-dollars a token."""
    return FakeClient("m", answers, price=PRICE, options=FakeOptions(**options))


def noted(log: list[Any], entry: Any) -> str:
    """Answers "ok" and keeps a note."""
    log.append(entry)
    return "ok"


async def text(pieces: AsyncIterator[Chunk]) -> str:
    """All of a stream's text."""
    return "".join([chunk.text async for chunk in pieces])
