"""One attempt takes so long and no longer."""

from __future__ import annotations

import pytest

from archon.clients.attempt import Timed
from archon.errors import RetryableError
from tests.clients.fakes import ASKED, OPEN, fake, text


async def test_an_attempt_that_hangs_is_given_up_with_its_bill_unknown() -> None:
    client = Timed(fake(failures={"hang": 1.0}), 0.02, "m")
    for way in (client.complete(ASKED), text(client.stream(ASKED))):
        with pytest.raises(RetryableError, match=r"within 0.02 s \(timeout\)") as late:
            await way
        assert late.value.billed is None


async def test_a_stream_has_the_same_time_for_the_whole_answer() -> None:
    client = Timed(fake(["x" * 400], token_latency=0.01), 0.1, "m")
    with pytest.raises(RetryableError):
        await text(client.stream(OPEN))
