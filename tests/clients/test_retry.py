"""Retry: what may pass is tried again, boundedly."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from archon.clients.fake import FakeClient
from archon.clients.retry import Attempt, Backoff, Retrying
from archon.errors import RequestError, RetryableError
from archon.protocols import Client
from archon.types import Chunk, Request
from tests.clients.fakes import ASKED, fake, text


def retrying(inner: Client, waits: list[float], retries: int = 4, **more: Any) -> Retrying:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    return Retrying(inner, Backoff(retries, rng=random.Random(1)), "m", sleep=sleep, **more)


async def test_what_may_pass_is_tried_again_with_growing_jittered_waits() -> None:
    waits: list[float] = []
    model = fake(fail_first=4)
    assert (await retrying(model, waits).complete(ASKED)).text
    assert model.calls == 5
    for wait, bound in zip(waits, (0.5, 1.0, 2.0, 4.0), strict=True):
        assert 0 <= wait <= bound


async def test_attempts_are_bounded_and_the_last_failure_counts_them() -> None:
    waits: list[float] = []
    told: list[Attempt] = []
    model = fake(fail_first=99)
    with pytest.raises(RetryableError, match=r"500 server error \(3 attempts\)") as failed:
        await retrying(model, waits, 2, on_attempt=told.append).complete(ASKED)
    assert (model.calls, len(waits), failed.value.status) == (3, 2, 500)
    assert [(each.number, each.wait is None) for each in told] == [(1, False), (2, False), (3, True)]


async def test_what_will_not_pass_is_not_tried_again() -> None:
    model = fake(failures={"refused": 1.0})
    with pytest.raises(RequestError):
        await retrying(model, []).complete(ASKED)
    assert model.calls == 1


async def test_retry_after_is_waited_for_unless_it_is_too_long() -> None:
    waits: list[float] = []
    await retrying(fake(fail_first=1, failures={"rate_limit": 1.0}, retry_after=7.0), waits).complete(ASKED)
    assert 7.0 <= waits[0] <= 7.5
    patient = fake(fail_first=1, failures={"rate_limit": 1.0}, retry_after=121.0)
    with pytest.raises(RetryableError, match="429"):
        await retrying(patient, waits).complete(ASKED)
    assert patient.calls == 1


async def test_no_attempt_starts_after_the_deadline() -> None:
    model = fake(fail_first=1, failures={"rate_limit": 1.0}, retry_after=7.0)
    with pytest.raises(RetryableError):
        await retrying(model, [], deadline=time.monotonic() + 6).complete(ASKED)
    assert model.calls == 1


async def test_a_stream_is_tried_again_until_it_begins_and_never_after() -> None:
    waits: list[float] = []
    model = fake(["one two three"], fail_first=2)
    assert await text(retrying(model, waits).stream(ASKED)) == "one two three"
    assert len(waits) == 2

    class Breaking(FakeClient):
        async def stream(self, request: Request) -> AsyncIterator[Chunk]:
            self.calls += 1
            yield Chunk("one")
            raise RetryableError("broke")

    breaking = Breaking()
    with pytest.raises(RetryableError, match="broke"):
        await text(retrying(breaking, waits).stream(ASKED))
    assert breaking.calls == 1
