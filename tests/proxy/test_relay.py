"""A stream passed on: nothing lost however it is cut, its usage read, and left out where nobody asked for it."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.proxy.relay import Relay

WORDS = [f'data: {{"choices":[{{"delta":{{"content":"w{index}"}}}}]}}\n\n'.encode() for index in range(5)]
USAGE = {"prompt_tokens": 3, "completion_tokens": 5}
LAST = b"data: " + json.dumps({"choices": [], "usage": USAGE}).encode() + b"\n\n"
DONE = b"data: [DONE]\n\n"
STREAM = b"".join(WORDS) + LAST + DONE


def passed(relay: Relay, pieces: list[bytes]) -> bytes:
    return b"".join(relay.feed(piece) for piece in pieces) + relay.end()


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@given(st.lists(st.integers(0, 10_000), max_size=20))
def test_every_byte_is_passed_on_wherever_it_is_cut(places: list[int]) -> None:
    relay = Relay(show_usage=True)
    assert passed(relay, cut(STREAM, places)) == STREAM
    assert relay.usage == USAGE
    assert relay.done


@given(st.lists(st.integers(0, 10_000), max_size=20))
def test_usage_nobody_asked_for_is_read_and_left_out(places: list[int]) -> None:
    relay = Relay(show_usage=False)
    assert passed(relay, cut(STREAM, places)) == b"".join(WORDS) + DONE
    assert relay.usage == USAGE


def test_usage_beside_a_choice_is_left_in() -> None:
    event = b"data: " + json.dumps({"choices": [{"delta": {}}], "usage": USAGE}).encode() + b"\n\n"
    relay = Relay(show_usage=False)
    assert passed(relay, [event]) == event
    assert relay.usage == USAGE


@pytest.mark.parametrize("text", ['the word "usage" in an answer', '{"usage": null}'])
def test_the_word_usage_in_an_answer_is_no_usage(text: str) -> None:
    event = b"data: " + json.dumps({"choices": [{"delta": {"content": text}}], "usage": None}).encode() + b"\n\n"
    relay = Relay(show_usage=False)
    assert passed(relay, [event]) == event
    assert relay.usage is None


def test_carriage_returns_end_events_too() -> None:
    stream = STREAM.replace(b"\n\n", b"\r\n\r\n")
    relay = Relay(show_usage=False)
    assert b'"usage"' not in passed(relay, [stream])
    assert relay.usage == USAGE


def test_a_stream_without_its_end_is_not_done() -> None:
    relay = Relay(show_usage=True)
    assert passed(relay, [WORDS[0], WORDS[1][:-1]]) == WORDS[0] + WORDS[1][:-1]
    assert not relay.done


def event(**body: object) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def end(index: int = 0, reason: str | None = "stop", **more: object) -> bytes:
    return event(choices=[{"index": index, "delta": {}, "finish_reason": reason}], **more)


@pytest.mark.parametrize("said", ["see [DONE] ok", "\ndata: [DONE]\n\n", '"finish_reason": "stop"', '{"error": "x"}'])
def test_words_of_an_answer_end_no_stream(said: str) -> None:
    relay = Relay(show_usage=True)
    words = event(choices=[{"index": 0, "delta": {"content": said}, "finish_reason": None}])
    assert passed(relay, [words]) == words
    assert (relay.done, relay.failed, relay.bill) == (False, False, None)


@pytest.mark.parametrize("mark", [b"data: [DONE]\n\n", b"data:[DONE]\n\n", b"data: [DONE]", b"data: [DONE]\r\n\r\n"])
def test_the_end_is_seen_however_it_is_written(mark: bytes) -> None:
    relay = Relay(show_usage=True)
    passed(relay, [WORDS[0], mark])
    assert relay.done


def test_a_stream_whose_answers_all_have_their_finish_reason_is_done() -> None:
    relay = Relay(show_usage=False, copies=2)
    seen = []
    for pieces in ([WORDS[0], end(0)], [end(0), end(1, None)], [end(1, "length")]):
        passed(relay, pieces)
        seen.append(relay.done)
    assert seen == [False, False, True]


def test_usage_is_a_bill_only_when_it_is_the_last() -> None:
    relay, bills = Relay(show_usage=True), []
    counted = {"prompt_tokens": 3, "completion_tokens": 1}  # some upstreams count as they go
    for piece in (end(0, None, usage=counted), end(0, "stop"), DONE):
        passed(relay, [piece])
        bills.append(relay.bill)
    assert bills == [None, None, counted]
    beside = Relay(show_usage=True)
    passed(beside, [end(0, "stop", usage=USAGE)])
    assert beside.bill == USAGE
    lone = Relay(show_usage=True)
    passed(lone, [LAST])
    assert lone.bill == USAGE


@pytest.mark.parametrize(
    "raw",
    [
        b'data: {"error": {"message": "no"}}\n\n',
        b'data:{"error":{"message":"no"}}\n\n',
        b'data: { "id": "c-1", "choices": [], "error" : "no" }\r\n\r\n',
    ],
)
def test_an_error_that_the_upstream_tells_is_seen_and_passed_on(raw: bytes) -> None:
    relay = Relay(show_usage=False)
    assert passed(relay, [WORDS[0] + raw]) == WORDS[0] + raw
    assert relay.failed


def test_an_error_of_null_is_none() -> None:
    relay = Relay(show_usage=False)
    passed(relay, [event(error=None, choices=[])])
    assert not relay.failed
