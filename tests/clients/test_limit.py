"""Limits: never more at once or a minute than allowed, and nobody forgotten."""

from __future__ import annotations

import asyncio

from archon.clients.limit import Limited, Limiter
from archon.types import Request, user
from tests.clients.fakes import ASKED, fake, noted, text


async def test_no_more_calls_are_under_way_than_allowed_and_all_are_made() -> None:
    model = fake(latency=0.01)
    client = Limited(model, Limiter(in_flight=3))
    half = [Request((user(str(number)),)) for number in range(10)]
    await asyncio.gather(*(client.complete(request) for request in half), *(text(client.stream(r)) for r in half))
    assert (model.calls, model.peak) == (20, 3)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


async def test_no_60_seconds_hold_more_starts_than_allowed() -> None:
    clock = Clock()
    starts: list[float] = []
    model = fake(lambda request: noted(starts, clock.now))
    client = Limited(model, Limiter(per_minute=3, clock=lambda: clock.now, sleep=clock.sleep))
    await asyncio.gather(*(client.complete(Request((user(str(number)),))) for number in range(10)))
    assert starts == [0, 0, 0, 60, 60, 60, 120, 120, 120, 180]


async def test_a_cancelled_waiter_gives_its_turn_to_the_next() -> None:
    model = fake(failures={"hang": 1.0})
    client = Limited(model, Limiter(in_flight=1))
    tasks = [asyncio.create_task(client.complete(ASKED)) for _ in range(3)]
    await asyncio.sleep(0.01)
    tasks[1].cancel()
    tasks[0].cancel()
    await asyncio.sleep(0.01)
    assert (model.calls, model.in_flight) == (2, 1)  # the first and the third; the second never began
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_a_limiter_serves_one_event_loop_after_another() -> None:
    limiter = Limiter(in_flight=1)

    async def both() -> int:
        model = fake(latency=0.001)
        client = Limited(model, limiter)
        await asyncio.gather(client.complete(ASKED), client.complete(ASKED))
        return model.peak

    assert [asyncio.run(both()), asyncio.run(both())] == [1, 1]
