"""What a row adds, and what no request may ask."""

from __future__ import annotations

import pytest

from archon.clients.defaults import WithDefaults
from archon.errors import RequestError
from archon.types import Request, Sampling, user
from tests.clients.fakes import OPEN, fake, noted, text


async def test_a_missing_bound_is_filled_in_and_a_given_one_kept() -> None:
    seen: list[Request] = []
    client = WithDefaults(fake(lambda request: noted(seen, request)), 7)
    for sampling in (Sampling(temperature=0.5), Sampling(max_tokens=3), Sampling(extra={"max_completion_tokens": 4})):
        await client.complete(Request((user("hi"),), sampling))
    await text(client.stream(OPEN))
    assert [request.sampling.max_tokens for request in seen] == [7, 3, None, 7]
    assert seen[0].sampling.temperature == 0.5


@pytest.mark.parametrize("name", ["n", "best_of", "stream", "model", "messages", "seed", "tools"])
async def test_fields_that_change_the_form_of_the_answer_are_refused(name: str) -> None:
    with pytest.raises(RequestError, match=f"may not set '{name}'"):
        await WithDefaults(fake(), None).complete(Request((user("hi"),), Sampling(extra={name: 2})))
