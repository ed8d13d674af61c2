"""The soak's checks see what they are for: they are told true and false answers and books."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.proxy_soak import Ledger, Seen, differences, kind, wrongs
from bench.proxy_staged import PIECES, Book, Reply, answer

WHOLE, STREAM, LEAVE, GRAPH = 1, 5, 7, 8


def whole(text: str) -> Reply:
    return Reply(200, json.dumps({"choices": [{"message": {"content": text}}]}).encode())


def error(status: int) -> Reply:
    return Reply(status, b'{"error": {"message": "m", "type": "t", "param": null, "code": null}}')


def streamed(ticket: int, pieces: int = PIECES, *more: Any) -> Reply:
    text = answer(ticket)[: len(answer(ticket)) * pieces // PIECES]
    events: list[Any] = [{"choices": [{"delta": {"content": text}}]}, *more]
    return Reply(200, b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events))


def ended(reply: Reply) -> Reply:
    return Reply(reply.status, reply.body + b"data: [DONE]\n\n")


def test_the_tickets_are_of_the_kinds_they_stand_for() -> None:
    assert [kind(ticket) for ticket in (WHOLE, STREAM, LEAVE, GRAPH)] == ["whole", "stream", "leave", "graph"]


@pytest.mark.parametrize(
    ("ticket", "reply", "faults"),
    [
        (WHOLE, whole(answer(WHOLE)), []),
        (GRAPH, whole(answer(GRAPH)), ["cut", "500"]),  # tried again
        (WHOLE, error(429), ["429"]),
        (WHOLE, error(504), ["silent"]),
        (GRAPH, error(502), ["500", "429"]),
        (STREAM, ended(streamed(STREAM)), ["slow"]),
        (STREAM, streamed(STREAM, 3, {"error": {"message": "broke off"}}), ["cut"]),
        (LEAVE, Reply(200, b"data: half", first=0.1), []),
    ],
)
def test_true_answers_pass(ticket: int, reply: Reply, faults: list[str]) -> None:
    assert list(wrongs(Seen({ticket: reply}), Book(faults={ticket: faults}))) == []


@pytest.mark.parametrize(
    ("ticket", "reply", "faults", "said"),
    [
        (WHOLE, whole(answer(2)), [], "another's answer"),
        (WHOLE, error(502), [], "nothing failed"),
        (WHOLE, error(502), ["slow"], "nothing failed"),
        (WHOLE, error(429), ["500"], "429 for"),
        (WHOLE, Reply(500, b"{}"), ["500"], "without an envelope"),
        (STREAM, ended(streamed(STREAM, 3)), ["cut"], "half an answer"),
        (STREAM, streamed(STREAM), [], "half an answer"),
        (STREAM, streamed(STREAM, 3, {"error": {}}), [], "an error though nothing failed"),
    ],
)
def test_false_answers_are_told(ticket: int, reply: Reply, faults: list[str], said: str) -> None:
    (wrong,) = wrongs(Seen({ticket: reply}), Book(faults={ticket: faults}))
    assert said in wrong


def test_a_connection_that_breaks_is_told() -> None:
    seen = Seen({WHOLE: Reply(0, b"")})
    seen.broken["whole: OSError"] += 1
    assert len(list(wrongs(seen, Book()))) == 1


@pytest.mark.parametrize(
    ("ledger", "book", "count"),
    [
        (Ledger(300), Book(delivered={WHOLE: 200, GRAPH: 100}), 0),
        (Ledger(700, flagged={GRAPH: [500]}), Book(delivered={WHOLE: 200}, lost={GRAPH: 1}), 0),
        # A client left while its answer was on the way: both have it, it is paid once.
        (Ledger(500, flagged={LEAVE: [500]}), Book(delivered={LEAVE: 200}), 0),
        (Ledger(299), Book(delivered={WHOLE: 300}), 1),
        (Ledger(300, held=5), Book(delivered={WHOLE: 300}), 1),
        (Ledger(300, left_open=1), Book(delivered={WHOLE: 300}), 1),
        (Ledger(300), Book(delivered={WHOLE: 300}, lost={GRAPH: 1}), 1),
        (Ledger(800, flagged={GRAPH: [500]}), Book(delivered={GRAPH: 300}), 1),
    ],
)
def test_books_that_differ_are_told(ledger: Ledger, book: Book, count: int) -> None:
    assert len(list(differences(ledger, book))) == count
