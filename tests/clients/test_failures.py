"""What an upstream's words may and may not become."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from archon.clients.failures import Upstream, classified, from_event, from_status, retry_after
from archon.errors import ClientError, ContextOverflowError, RequestError, RetryableError
from archon.types import user

WHERE = Upstream("m", "host", ("canary-key",))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "3"}, 0.25),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
def test_retry_after_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_retry_after_as_a_date_to_come() -> None:
    wait = retry_after({"retry-after": formatdate(time.time() + 60, usegmt=True)})
    assert wait is not None
    assert 30 < wait <= 60


def test_an_empty_purse_upstream_is_not_tried_again() -> None:
    body = b'{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}'
    assert type(from_status(WHERE, 429, {}, body)) is ClientError


def test_the_upstream_may_say_that_another_attempt_helps() -> None:
    assert type(classified(WHERE, 400, None, "x", {"x-should-retry": "true"})) is RetryableError


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("This model's maximum context length is 8192 tokens", ContextOverflowError),
        ("prompt is too long: 9 tokens > 8 maximum", ContextOverflowError),
        ("Input exceeds the maximum number of tokens", ContextOverflowError),
        ("temperature must be at most 2", RequestError),
    ],
)
def test_overflow_is_told_from_other_refusals(words: str, kind: type[ClientError]) -> None:
    assert type(classified(WHERE, 400, None, words, {})) is kind


def test_secrets_prompts_and_line_breaks_are_taken_out_and_the_rest_is_cut() -> None:
    prompt = user('the patient\'s "name"\nis Ann Example')
    said = f"bad: {prompt.text} / {prompt.text!r} Bearer abc.def sk-abcdef123456 canary-key" + " long" * 100
    quoted = WHERE.quoted(said, (prompt,))
    assert "Ann" not in quoted
    assert "canary" not in quoted
    assert "abc" not in quoted
    assert "\n" not in quoted
    assert len(quoted) == 300


def test_an_error_event_without_a_status_may_pass() -> None:
    assert type(from_event(WHERE, {"message": "overloaded", "type": "server_error"})) is RetryableError
    assert type(from_event(WHERE, "flat")) is RetryableError
    assert type(from_event(WHERE, {"message": "no", "code": 400})) is RequestError


def test_what_is_quoted_from_a_body_that_is_no_envelope() -> None:
    assert "no further words" in str(from_status(WHERE, 500, {}, b""))
    assert "[1, 2]" in str(from_status(WHERE, 500, {}, b"[1, 2]"))
    assert "first" in str(from_status(WHERE, 400, {}, b'[{"error": {"message": "first"}}]'))
    assert "canary" not in repr(WHERE)


def test_a_long_body_is_searched_whole_before_it_is_cut() -> None:
    """A cut through a key or a prompt would leave the half of it that no longer looks like one."""
    prompt = user("Ann Example " * 500)
    assert "Ann" not in str(from_status(WHERE, 400, {}, f"bad: {prompt.text}".encode(), (prompt,)))
    assert "can" not in str(from_status(WHERE, 400, {}, b" " * 1995 + b"canary-key"))
