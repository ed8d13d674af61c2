"""Bounds of one request: it stops early, answers with the best it has, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archon.proxy.settings import Settings
from tests.proxy.serving import Json, Serving, fake, fused, system, upstream
from tests.proxy.wire import Stream, ask
from tests.servers import Body, CountingServer, Reply

ASK: Json = {"model": "archon/s", "messages": [{"role": "user", "content": "q"}]}


def ranked_and_fused(samples: int = 3, fuser: str = "m") -> list[Json]:
    """Generators → ranker → fuser."""
    return [
        {"id": "drafts", "layer": "generator", "model": "m", "params": {"samples": samples}},
        {"id": "rank", "layer": "ranker", "model": "m", "inputs": ["drafts"]},
        {"id": "fused", "layer": "fuser", "model": fuser, "inputs": ["rank"]},
    ]


SCRIPT = {"Rank 3": "RANKING: 2 > 1 > 3", "": ["answer 1", "answer 2", "answer 2"]}


@pytest.mark.parametrize(
    ("calls", "answer", "made"),
    [
        (1, "answer 1", 1),
        (3, "answer 2", 3),  # all drafts, no ranker: two of three say 2
        (4, "answer 2", 4),  # the ranker puts the second draft first
    ],
)
def test_max_calls_leaves_the_best_candidate_so_far(tmp_path: Path, calls: int, answer: str, made: int) -> None:
    path = system(tmp_path, "s", ranked_and_fused(), [fake("m", SCRIPT)])
    with Serving(Settings(files=(path,))) as server:
        found = ask(server.port, {**ASK, "archon": {"max_calls": calls}})
    assert found.status == 200
    assert found.json["choices"][0]["message"]["content"] == answer
    assert found.json["archon"]["calls"] == made
    assert "calls" in found.json["archon"]["stopped"]


def test_a_bound_that_is_not_met_changes_nothing(tmp_path: Path) -> None:
    path = system(tmp_path, "s", ranked_and_fused(), [fake("m", SCRIPT)])
    with Serving(Settings(files=(path,))) as server:
        found = ask(server.port, {**ASK, "archon": {"max_calls": 5, "max_usd": 1, "max_seconds": 60}})
    assert found.json["archon"]["stopped"] is None
    assert found.json["archon"]["calls"] == 5


def test_max_usd_holds(tmp_path: Path) -> None:
    """An answer is bounded by 10 tokens of 2 dollars a million: 20 micro-dollars; the prompt's bound is 272 tokens and
    the bytes of "q", 1 dollar a million. One worst case, 293, fits into 300; a second fits once the first is
    settled at 7 + 6 = 13; so all three drafts are made one after another, and the fuser's longer prompt is refused."""
    with CountingServer(lambda body: "answer 1") as up:
        row = upstream(up.endpoint, max_tokens=10)
        path = system(tmp_path, "s", fused(), [row])
        with Serving(Settings(files=(path,))) as server:
            found = ask(server.port, {**ASK, "archon": {"max_usd": 0.0004}})
        assert found.status == 200, found.body
        assert up.total == found.json["archon"]["calls"]
        assert found.json["archon"]["cost_usd"] <= 0.0004
    assert found.json["archon"]["stopped"]


def test_max_seconds_stops_and_answers(tmp_path: Path) -> None:
    path = system(tmp_path, "s", ranked_and_fused(fuser="slow"), [fake("m", SCRIPT), fake("slow", latency=60.0)])
    with Serving(Settings(files=(path,))) as server:
        found = ask(server.port, {**ASK, "archon": {"max_seconds": 3.0}})
    assert found.json["choices"][0]["message"]["content"] == "answer 2"
    assert "deadline" in found.json["archon"]["stopped"]


def test_a_stream_that_is_stopped_says_so_at_its_end(tmp_path: Path) -> None:
    path = system(tmp_path, "s", ranked_and_fused(), [fake("m", SCRIPT)])
    body = {**ASK, "stream": True, "archon": {"max_calls": 4}}
    with Serving(Settings(files=(path,))) as server, Stream(server.port, body) as stream:
        *events, last, done = stream.events()
    assert "".join(event["choices"][0]["delta"].get("content") or "" for event in events) == "answer 2"
    assert last["archon"]["stopped"]
    assert done == "[DONE]"


def test_a_stream_cut_in_its_last_stage_keeps_what_was_said(tmp_path: Path) -> None:
    """The fuser speaks a word every 0.6 s, so for longer than 4 s; the bound of 3 s lies between its words."""
    with CountingServer(lambda body: Reply("a b c d e f g h", between=0.6 if body.get("stream") else 0.0)) as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        body = {**ASK, "stream": True, "archon": {"max_seconds": 3.0}}
        with Serving(Settings(files=(path,))) as server, Stream(server.port, body) as stream:
            *events, last, done = stream.events()
    text = "".join(event["choices"][0]["delta"].get("content") or "" for event in events)
    assert "a b c d e f g h".startswith(text)
    assert text != "a b c d e f g h"
    assert last["choices"][0]["finish_reason"] == "length"
    assert last["archon"]["stopped"]
    assert done == "[DONE]"


@pytest.mark.parametrize(
    ("bounds", "status", "code"),
    [({"max_calls": 0}, 400, "cap_too_small"), ({"max_seconds": 1e-9}, 400, "cap_too_small")],
)
def test_a_bound_too_small_for_any_call_is_refused(tmp_path: Path, bounds: Any, status: int, code: str) -> None:
    path = system(tmp_path, "s", fused(), [fake("m", ["a"])])
    with Serving(Settings(files=(path,))) as server:
        found = ask(server.port, {**ASK, "archon": bounds})
    assert (found.status, found.error["code"]) == (status, code)
    assert found.headers["x-should-retry"] == "false"


def test_a_bound_in_dollars_needs_prices(tmp_path: Path) -> None:
    with CountingServer() as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint, price=None)])
        with Serving(Settings(files=(path,))) as server:
            found = ask(server.port, {**ASK, "archon": {"max_usd": 1}})
        assert up.total == 0
    assert (found.status, found.error["param"]) == (400, "archon")


def test_the_servers_own_deadline_is_an_error(tmp_path: Path) -> None:
    def reply(body: Body) -> Reply:
        return Reply("draft") if len(body["messages"]) == 1 else Reply(hang=True)

    with CountingServer(reply) as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,), deadline=0.7)) as server:
            found = ask(server.port, ASK)
            plain = ask(server.port, {**ASK, "model": "m", "messages": [{"role": "user", "content": "q"}] * 2})
    for each in (found, plain):
        assert each.status == 504
        assert each.headers["x-should-retry"] == "false"


def test_a_plain_model_takes_bounds_too(tmp_path: Path) -> None:
    with CountingServer(lambda body: "a") as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as server:
            found = ask(server.port, {**ASK, "model": "m", "archon": {"max_calls": 1}})
            refused = ask(server.port, {**ASK, "model": "m", "archon": {"max_calls": 0}})
        assert up.total == 1
    assert found.json["archon"]["stopped"] is None
    assert refused.status == 400
