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


def test_a_stop_string_before_an_unfinished_character_ends_the_text_at_once() -> None:
    pieces = [b"x", b"END\xe2", b"\x82"]
    stream = TextStream(lambda ids: b"".join(pieces[i] for i in ids).decode(errors="replace"), ("END",))
    assert [stream.push(i) for i in range(2)] == [False, True]
    assert stream.text == "x"


def test_an_unfinished_character_is_told_once_it_is_whole_and_what_is_before_it_at_once() -> None:
    pieces = [b"a\xe2", b"\x82", b"\xac!", b"\xe2"]
    stream = TextStream(lambda ids: b"".join(pieces[i] for i in ids).decode(errors="replace"), ())
    texts = [(stream.push(i), stream.text)[1] for i in range(4)]
    assert texts == ["a", "a", "a€!", "a€!"]
    assert not stream.finish()
    assert stream.text == "a€!\ufffd"


def test_a_stop_string_that_only_the_end_makes_certain_ends_the_text() -> None:
    stream = TextStream(lambda ids: "\ufffd" * len(ids), ("\ufffd\ufffd",))
    assert [stream.push(i) for i in range(2)] == [False, False]
    assert stream.finish()
    assert stream.text == ""
