"""The worst case of a call really is its worst case."""

from __future__ import annotations

import pytest

from archon.clients.bounds import IMAGE_TOKENS, MESSAGE_TOKENS, TEMPLATE_TOKENS, worst_case
from archon.errors import BudgetError
from archon.types import Message, Price, Request, Sampling, user
from tests.clients.fakes import ASKED, OPEN


def test_the_bound_is_bytes_and_template_and_the_answers_limit() -> None:
    # "naïve €" is 10 bytes: ï takes 2, € takes 3
    bound = worst_case(Request((user("naïve €"),), Sampling(max_tokens=5)), Price(1, 2))
    prompt = TEMPLATE_TOKENS + MESSAGE_TOKENS + 10
    assert (bound.tokens, bound.micro_usd) == (prompt + 5, prompt * 1 + 5 * 2)
    assert worst_case(Request((user("x"),), Sampling(max_tokens=5)), None, 3).tokens == 8
    assert worst_case(ASKED, None).micro_usd is None


def test_everything_that_is_sent_is_in_the_bound() -> None:
    plain = worst_case(ASKED, None).tokens
    tool = {"type": "function", "function": {"name": "f", "description": "d" * 1000}}
    grown = [
        Request(ASKED.messages, ASKED.sampling, tools=(tool,)),
        Request(ASKED.messages, ASKED.sampling, response_format={"schema": "s" * 1000}),
        Request((Message("user", "hi", name="n" * 1000),), ASKED.sampling),
        Request((Message("assistant", "hi", tool_calls=({"function": {"arguments": "a" * 1000}},)),), ASKED.sampling),
        Request((Message("user", "hi", extra={"reasoning_content": "r" * 1000}),), ASKED.sampling),
        Request((Message("user", ({"type": "text", "text": "t" * 1000},)),), ASKED.sampling),
        Request(ASKED.messages, Sampling(max_tokens=10, extra={"max_completion_tokens": 1010})),
    ]
    for request in grown:
        assert worst_case(request, None).tokens >= plain + 1000 - 2
    image = {"type": "image_url", "image_url": {"url": "http://x/y.png"}}
    assert worst_case(Request((Message("user", (image,)),), ASKED.sampling), None).tokens > IMAGE_TOKENS


def test_what_nothing_bounds_is_refused() -> None:
    with pytest.raises(BudgetError, match="max_tokens"):
        worst_case(OPEN, None)
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    with pytest.raises(BudgetError, match="'input_audio'"):
        worst_case(Request((Message("user", (audio,)),), Sampling(max_tokens=5)), None)
