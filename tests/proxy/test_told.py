"""What a stream's bytes tell: nothing that a text quotes counts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.proxy.told import FINISH, USAGE, body_of, ended, failed

QUOTED = ["\ndata: [DONE]\n", '"usage": {', '"finish_reason": "stop"', '\ndata: {"error": "x"}\n', "\nevent: error\n"]


@given(st.lists(st.sampled_from([*QUOTED, "\\", '"', "word "]), max_size=8).map("".join))
def test_no_text_inside_an_event_tells_anything(text: str) -> None:
    event = (
        b"data: " + json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": None}]}).encode() + b"\n\n"
    )
    assert not ended(event)
    assert not failed(event)
    assert not USAGE.search(event)
    assert not FINISH.search(event)


@pytest.mark.parametrize(
    ("error", "found"), [("null", False), ('""', False), ("false", False), ("{}", True), ('"x"', True), ("500", True)]
)
def test_an_error_is_whatever_says_something(error: str, found: bool) -> None:
    assert failed(b'data: {"id": "c", "error": ' + error.encode() + b"}\n\n") == found


def test_only_objects_are_bodies() -> None:
    assert body_of(b'event: x\ndata: {"a": 1}') == {"a": 1}
    for event in (b"data: [DONE]", b"data: [1]", b": keep-alive", b"data: {", b"data: \xff"):
        assert body_of(event) is None
