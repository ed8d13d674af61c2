"""Server-sent events, cut anywhere."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from archon.clients.sse import EventParser

DATA = st.lists(st.text(st.characters(exclude_characters="\r\n\0", codec="utf-8"), min_size=1), max_size=5)


def parsed(pieces: list[bytes]) -> list[str]:
    parser = EventParser()
    return [data for piece in pieces for data in parser.feed(piece)] + list(parser.end())


@given(events=DATA, end=st.sampled_from(["\n", "\r\n", "\r"]), cuts=st.lists(st.integers(0, 400)), data=st.data())
def test_any_cut_and_any_line_end_give_the_same_events(
    events: list[str], end: str, cuts: list[int], data: st.DataObject
) -> None:
    stream = "".join(f"data: {event}{end}{end}" for event in events).encode()
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
    assert parsed(pieces) == events


def test_comments_ids_names_and_a_byte_order_mark_are_left_out() -> None:
    assert parsed([b"\xef\xbb\xbf: hi\n\nevent: x\nid: 3\nretry: 1\ndata:a\n\n:\n\ndata: b\n\n"]) == ["a", "b"]


def test_data_lines_of_one_event_are_joined_by_newlines() -> None:
    assert parsed([b"data: a\ndata: b\ndata\n\n"]) == ["a\nb\n"]


def test_an_event_whose_blank_line_never_came_is_given_at_the_end() -> None:
    assert parsed([b"data: [DONE]"]) == ["[DONE]"]
