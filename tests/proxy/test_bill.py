"""What a passed-through call is charged: what was reported where anything was, nothing where nothing was sent."""

from __future__ import annotations

import http.client
import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from archon.proxy.bill import Bill
from archon.proxy.unmetered import FreeHold
from archon.types import Price
from tests.proxy.serving import upstream
from tests.proxy.test_passthrough import ASK, BILL, Keyed
from tests.proxy.test_streaming import until
from tests.proxy.wire import ask
from tests.servers import CountingServer, Reply

USAGE = {"prompt_tokens": 7, "completion_tokens": 3}


def event(**body: object) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def words(text: str = "hi", reason: str | None = None) -> bytes:
    return event(id="c", choices=[{"index": 0, "delta": {"content": text}, "finish_reason": reason}])


LAST = event(id="c", choices=[], usage=USAGE)


def metric(keyed: Keyed, name: str, **labels: str) -> float:
    text = ask(keyed.server.port, b"", "/metrics", method="GET", headers=keyed.headers).body.decode()
    told = ",".join(f'{key}="{value}"' for key, value in labels.items())
    found = re.search(rf"^{name}{{{re.escape(told)}}} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def calls(keyed: Keyed, outcome: str) -> float:
    return metric(keyed, "archon_upstream_calls_total", model="m", outcome=outcome)


class Leaver:
    """A client that reads a stream until it has seen some bytes, and leaves."""

    def __init__(self, keyed: Keyed, mark: bytes = b"", **body: Any) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", keyed.server.port, timeout=120)
        self._connection.request("POST", "/v1/chat/completions", json.dumps({**ASK, **body}), keyed.headers)
        if mark:
            response, seen = self._connection.getresponse(), b""
            while mark not in seen:
                piece = response.read1(100)
                assert piece, seen
                seen += piece

    def leave(self) -> None:
        sock = self._connection.sock
        if sock is not None:
            sock.shutdown(2)
        self._connection.close()


def test_a_request_that_left_the_queue_is_charged_nothing(tmp_path: Path) -> None:
    gate = threading.Event()

    def answer(body: dict[str, Any]) -> str:
        gate.wait(90)  # holds the upstream's loop: it answers nobody meanwhile
        return "ok"

    with (
        CountingServer(answer) as up,
        Keyed(tmp_path, up.endpoint, upstream(up.endpoint, limits={"in_flight": 1}), usd_per_day=10**6) as keyed,
    ):
        first = threading.Thread(target=keyed.ask)
        first.start()
        assert until(lambda: up.total == 1)
        one = keyed.spent().held_micro_usd
        second = Leaver(keyed, max_tokens=50)
        assert until(lambda: keyed.spent().held_micro_usd > one)
        second.leave()
        assert until(lambda: keyed.spent().held_micro_usd == one)
        gate.set()
        first.join()
        assert until(lambda: keyed.spent().held_micro_usd == 0)
        total = keyed.spent()
        assert up.total == 1
        assert calls(keyed, "error") == 0
    assert (total.spent_micro_usd, total.flagged_micro_usd) == (BILL, 0)


def test_a_request_whose_time_ends_in_the_queue_is_charged_nothing(tmp_path: Path) -> None:
    # One call a minute: the second request's time is over long before its turn.
    with CountingServer() as up:
        row = upstream(up.endpoint, limits={"per_minute": 1}, timeout=3.0)
        with Keyed(tmp_path, up.endpoint, row, usd_per_day=10**6) as keyed:
            assert [keyed.ask().status for _ in range(2)] == [200, 504]
            assert until(lambda: keyed.spent().held_micro_usd == 0)
            total = keyed.spent()
            assert (up.total, calls(keyed, "error")) == (1, 0)
    assert (total.spent_micro_usd, total.flagged_micro_usd) == (BILL, 0)


def test_a_client_that_leaves_with_the_usage_in_hand_pays_what_it_says(tmp_path: Path) -> None:
    chunks = [words(), words("", "stop"), LAST, b"data: [DONE]\n\n"]
    with CountingServer(lambda body: Reply(chunks=chunks, between=0.5)) as up, Keyed(tmp_path, up.endpoint) as keyed:
        Leaver(keyed, b'"usage": {', stream=True, stream_options={"include_usage": True}).leave()
        assert until(lambda: keyed.spent().spent_micro_usd > 0)
        total = keyed.spent()
        assert until(lambda: calls(keyed, "ok") == 1)
    assert (total.spent_micro_usd, total.spent_tokens, total.flagged_micro_usd) == (BILL, 10, 0)


@pytest.mark.parametrize("break_after", [None, 4])
def test_an_answer_that_finished_needs_no_mark_of_its_end(tmp_path: Path, break_after: int | None) -> None:
    chunks = [words(), words("", "stop"), LAST, b": the mark never comes\n\n"]
    reply = Reply(chunks=chunks, break_after=break_after)
    with CountingServer(lambda body: reply) as up, Keyed(tmp_path, up.endpoint) as keyed:
        answer = keyed.ask(stream=True)
        assert until(lambda: keyed.spent().spent_micro_usd > 0)
        total = keyed.spent()
        assert calls(keyed, "ok") == 1
    assert b'"error"' not in answer.body
    assert answer.body.startswith(words() + words("", "stop"))
    assert (total.spent_micro_usd, total.flagged_micro_usd) == (BILL, 0)


def test_a_stream_that_is_cut_in_words_about_its_end_is_cut(tmp_path: Path) -> None:
    with (
        CountingServer(lambda body: Reply(chunks=[words("see [DONE] ok")])) as up,
        Keyed(tmp_path, up.endpoint) as keyed,
    ):
        answer = keyed.ask(stream=True)
        assert until(lambda: keyed.spent().flagged_micro_usd > 0)
        assert calls(keyed, "error") == 1
    assert b"broke off" in answer.body.splitlines()[-2]


def test_an_error_that_the_upstream_streams_is_told_once(tmp_path: Path) -> None:
    chunks = [words(), b'data:{"error":{"message":"overloaded"}}\n\n']
    with CountingServer(lambda body: Reply(chunks=chunks)) as up, Keyed(tmp_path, up.endpoint) as keyed:
        answer = keyed.ask(stream=True)
        assert until(lambda: keyed.spent().flagged_micro_usd > 0)
        assert (calls(keyed, "error"), calls(keyed, "ok")) == (1, 0)
    assert answer.body == b"".join(chunks)


@pytest.mark.parametrize("stream", [False, True])
def test_a_usage_that_says_nothing_keeps_the_answer_and_the_worst_case(tmp_path: Path, stream: bool) -> None:
    usages: list[dict[str, Any]] = [
        {},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": "x"},
        {"prompt_tokens": 7, "completion_tokens": -1000},
        {"prompt_tokens": 7, "completion_tokens": [1]},
        {"prompt_tokens": 7, "completion_tokens": 10**400},
        {"prompt_tokens": 7, "completion_tokens": float("inf")},
        {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": "x"},
    ]
    script = [Reply("whole", usage=usage) for usage in usages]
    with CountingServer(script=script) as up, Keyed(tmp_path, up.endpoint) as keyed:
        spent = 0
        for usage in usages:
            answer = keyed.ask(stream=stream, max_tokens=20)
            assert (answer.status, b"whole" in answer.body) == (200, True), usage
            assert until(lambda: keyed.spent().held_micro_usd == 0)
            total = keyed.spent()
            # More than the 20 tokens of the answer at 2 micro-dollars each, and both columns of the book.
            assert total.spent_micro_usd == total.flagged_micro_usd > spent + 40, usage
            assert total.spent_tokens > 0
            spent = total.spent_micro_usd
        assert calls(keyed, "ok") == len(usages)


@pytest.mark.parametrize(
    ("reply", "again"),
    [
        (Reply(drop=True), False),
        (Reply(raw=b'{"choices": ['), False),
        (Reply(status=502), False),
        (Reply(status=504), False),
        (Reply(status=408), False),
        (Reply(status=429), True),
        (Reply(status=503), True),
        (Reply(status=500), True),
    ],
)
def test_what_was_charged_is_not_to_be_repeated(tmp_path: Path, reply: Reply, again: bool) -> None:
    with CountingServer(lambda body: reply) as up, Keyed(tmp_path, up.endpoint) as keyed:
        answer = keyed.ask(max_tokens=20)
        assert until(lambda: keyed.spent().held_micro_usd == 0)
        total = keyed.spent()
        assert calls(keyed, "error") == 1
        paid = metric(keyed, "archon_spend_usd_total", model="m")
    assert answer.headers.get("x-should-retry") == (None if again else "false")
    assert (total.spent_micro_usd == 0) == again
    assert total.flagged_micro_usd == total.spent_micro_usd
    assert paid == pytest.approx(total.spent_micro_usd / 1e6)


def test_a_key_without_room_made_no_call(tmp_path: Path) -> None:
    with CountingServer() as up, Keyed(tmp_path, up.endpoint, usd_per_day=5) as keyed:
        assert keyed.ask().status == 429
        assert calls(keyed, "error") == 0


def test_only_the_first_word_on_a_bill_counts() -> None:
    bill = Bill(FreeHold(500, 90), Price(1.0, 2.0), "m")
    bill.settle(USAGE, 0.1)
    bill.worst("later")
    bill.release()
    assert (bill.micro_usd, bill.flagged, bill.known) == (BILL, False, True)
    other = Bill(FreeHold(500, 90), Price(1.0, 2.0), "m")
    other.close()
    other.settle(USAGE, 0.1)
    assert (other.micro_usd, other.flagged) == (0, False), "nothing was sent"
