"""Growing text: stop strings across tokens, split characters, and nothing shown too early."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from archon.clients.local_stream import GrowingText


def decode(tokens: Sequence[int]) -> str:
    """Each token is one byte of UTF-8."""
    return bytes(tokens).decode(errors="replace")


def grown(text: str, stops: Sequence[str] = ()) -> tuple[GrowingText, list[str]]:
    growing, pieces = GrowingText(decode, stops), []
    for byte in text.encode():
        growing.add(byte)
        if growing.stopped:
            break
        pieces.append(growing.fresh())
    growing.finish()
    return growing, [*pieces, growing.fresh(last=True)]


def test_a_stop_string_over_several_tokens_is_cut_off_and_never_shown() -> None:
    growing, pieces = grown("one two END three", ["END"])
    assert growing.stopped
    assert growing.text == "one two "
    assert "".join(pieces) == "one two "


def test_the_earliest_of_several_stop_strings_counts() -> None:
    assert grown("abcde", ["cd", "bcd"])[0].text == "a"
    assert grown("abcde", ["de", "b"])[0].text == "a"


def test_what_may_begin_a_stop_string_is_held_back_until_it_is_decided() -> None:
    growing, pieces = grown("1 EN, 2 E", ["END"])
    assert not growing.stopped
    assert pieces[:6] == ["1", " ", "", "", "EN,", " "]  # "E" and "EN" wait
    assert "".join(pieces) == "1 EN, 2 E"  # the last "E" comes with the end


def test_a_character_is_shown_when_its_last_byte_is_there() -> None:
    growing, pieces = grown("aéb")
    assert pieces == ["a", "", "é", "b", ""]
    assert growing.ends == [1, 1, 2, 3]


def test_half_a_character_at_the_end_is_settled_by_finish() -> None:
    growing = GrowingText(decode, ())
    growing.add("é".encode()[0])
    assert growing.text == ""
    growing.finish()
    assert growing.text == "\ufffd"


@given(st.text(max_size=30), st.lists(st.text(min_size=1, max_size=4), max_size=3))
def test_pieces_are_the_text_and_the_text_ends_before_the_first_stop(text: str, stops: list[str]) -> None:
    text = text.replace("\ufffd", "?")
    growing, pieces = grown(text, stops)
    # A stop is met when its last character comes; of those met then, the one that begins first cuts.
    met = min((text.find(stop) + len(stop) for stop in stops if stop in text), default=None)
    wanted = text if met is None else text[: min(at for stop in stops if (at := text[:met].find(stop)) >= 0)]
    assert "".join(pieces) == growing.text == wanted
