"""Text as it comes: unfinished characters and possible stop strings are held back, and given out once they are
settled."""

from __future__ import annotations

from specdec.text import TextStream

BYTES = "né→x".encode()


def decode(tokens: list[int]) -> str:
    return bytes(tokens).decode("utf-8", errors="replace")


def test_a_character_of_several_tokens_appears_once_whole() -> None:
    stream, shown = TextStream(decode, ()), []
    for token in BYTES:
        stream.push(token)
        shown.append(stream.release(final=False))
    assert shown == ["n", "", "é", "", "", "→", "x"]


def test_an_unfinished_character_at_the_end_is_not_lost() -> None:
    stream = TextStream(decode, ())
    for token in "é".encode()[:1]:
        stream.push(token)
    stream.finish()
    assert stream.text == "�"


def test_a_tail_that_may_begin_a_stop_string_is_held_until_it_cannot() -> None:
    stream, shown = TextStream(decode, ("END",)), []
    for token in b"aENxEN":
        stream.push(token)
        shown.append(stream.release(final=False))
    assert shown == ["a", "", "", "ENx", "", ""]
    assert stream.release(final=True) == "EN"


def test_the_earliest_of_several_stop_strings_ends_the_text() -> None:
    stream = TextStream(decode, ("cd", "bcd"))
    assert [stream.push(token) for token in b"abcd"] == [False, False, False, True]
    assert stream.text == "a"


def test_a_stop_string_is_found_across_any_token_border() -> None:
    whole = "xx→STOPyy".encode()
    stream = TextStream(decode, ("→STOP",))
    ended = [stream.push(token) for token in whole]
    assert ended.index(True) == len("xx→STOP".encode()) - 1
    assert stream.text == "xx"
