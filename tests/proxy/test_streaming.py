"""Streams are real: tokens as they come, comments while nothing comes, true ends, no work for a client that left."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from archon.proxy.keys import open_store
from archon.proxy.settings import Settings
from tests.proxy.serving import Serving, fake, fused, system, upstream, voted
from tests.proxy.wire import Stream, ask
from tests.servers import Body, CountingServer, Reply

ASK = {"model": "archon/s", "stream": True, "messages": [{"role": "user", "content": "q"}]}

RESPONSE = {"model": "archon/s", "stream": True, "input": "q"}


def until(true: object, seconds: float = 60.0) -> bool:
    """Whether a condition comes to hold within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():  # type: ignore[operator]
            return True
        time.sleep(0.01)
    return False


def test_the_last_stages_tokens_are_forwarded_before_the_upstream_has_said_all(tmp_path: Path) -> None:
    """The fuser's events are 5 s apart, so at its first word the upstream is still answering."""
    with CountingServer(lambda body: Reply("one two three", between=5.0 if body.get("stream") else 0.0)) as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as server, Stream(server.port, ASK) as stream:
            for block in stream.blocks():
                if '"one"' in block:
                    assert up.under_way == 1, "the upstream has not ended its answer"
                    break
            else:
                raise AssertionError("no token came")


def test_comments_come_while_earlier_stages_run(tmp_path: Path) -> None:
    nodes = fused("slow")
    nodes[1]["model"] = "quick"
    path = system(tmp_path, "s", nodes, [fake("slow", latency=1.0), fake("quick", ["done"])])
    with (
        Serving(Settings(files=(path,), keep_alive=0.05)) as server,
        Stream(server.port, ASK) as stream,
    ):
        blocks = list(stream.blocks())
    comments = [block for block in blocks if block.startswith(":")]
    assert comments
    assert set(comments) == {": keep-alive"}
    assert blocks[0].startswith(":")
    assert blocks[-1] == "data: [DONE]"


def test_a_streamed_response_begins_with_the_first_comment(tmp_path: Path) -> None:
    nodes = fused("slow")
    nodes[1]["model"] = "quick"
    path = system(tmp_path, "s", nodes, [fake("slow", latency=1.0), fake("quick", ["done"])])
    body = {**RESPONSE, "archon": {"progress": True}}
    with Serving(Settings(files=(path,), keep_alive=0.05)) as server:
        for asked in (RESPONSE, body):
            with Stream(server.port, asked, "/v1/responses") as stream:
                events = stream.events()
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
            assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
            assert events[-1]["type"] == "response.completed"


def test_a_stream_says_what_is_left_to_its_key(tmp_path: Path) -> None:
    store = str(tmp_path / "proxy.db")
    keys = open_store(store)
    secret, _ = keys.create("ann", requests_per_minute=5)
    keys.close()
    path = system(tmp_path, "s", fused(), [fake("m", ["a"])])
    with Serving(Settings(files=(path,), store=store)) as server:
        headers = {"Authorization": f"Bearer {secret}"}
        chat = ask(server.port, ASK, headers=headers)
        response = ask(server.port, RESPONSE, "/v1/responses", headers)
    left = [each.headers["x-ratelimit-remaining-requests"] for each in (chat, response)]
    assert left == ["4", "3"]


def test_progress_is_told_where_it_is_asked_for(tmp_path: Path) -> None:
    path = system(tmp_path, "s", fused(), [fake("m", ["a"])])
    with Serving(Settings(files=(path,))) as server:
        with Stream(server.port, {**ASK, "archon": {"progress": True}}) as stream:
            events = stream.events()
        with Stream(server.port, ASK) as stream:
            silent = stream.events()
    told = [event["archon"]["progress"] for event in events[:-1] if "progress" in event.get("archon", {})]
    assert [(each["node"], each["state"], each["candidates"]) for each in told] == [
        ("drafts", "started", 0),
        ("drafts", "ended", 3),
        ("fused", "started", 0),
        ("fused", "ended", 1),
    ]
    assert not any("progress" in event.get("archon", {}) for event in silent[:-1])


def test_an_answer_that_is_only_chosen_comes_in_one_piece(tmp_path: Path) -> None:
    path = system(tmp_path, "s", voted(), [fake("m", ["answer 4"])])
    with Serving(Settings(files=(path,))) as server, Stream(server.port, ASK) as stream:
        events = stream.events()
    texts = [choice["delta"].get("content") for event in events[:-1] for choice in event["choices"]]
    assert [text for text in texts if text] == ["answer 4"]


def test_several_answers_are_streamed_side_by_side(tmp_path: Path) -> None:
    path = system(tmp_path, "s", fused(samples=1), [fake("m", [f"a{index} b" for index in range(5)])])
    with Serving(Settings(files=(path,))) as server, Stream(server.port, {**ASK, "n": 2}) as stream:
        events = stream.events()
    texts = ["", ""]
    for event in events[:-1]:
        for choice in event["choices"]:
            texts[choice["index"]] += choice["delta"].get("content") or ""
    assert all(texts)
    finishes = [choice["finish_reason"] for event in events[:-1] for choice in event["choices"]]
    assert finishes.count("stop") == 2


def test_a_failure_before_the_first_byte_has_its_status(tmp_path: Path) -> None:
    with CountingServer(lambda body: Reply("slow down", status=429, headers={"Retry-After": "7"})) as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as server:
            answer = ask(server.port, ASK)
            plain = ask(server.port, {**ASK, "model": "m"})
            response = ask(server.port, RESPONSE, "/v1/responses")
    for each in (answer, plain, response):
        assert each.status == 429
        assert each.headers["retry-after"] == "7"
        assert each.error["message"]


def test_a_failure_after_the_first_byte_is_an_event_and_then_the_end(tmp_path: Path) -> None:
    def reply(body: Body) -> Reply:
        return Reply("one two three", break_after=3) if body.get("stream") else Reply("draft")

    with CountingServer(reply) as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as server:
            for model in ("archon/s", "m"):
                with Stream(server.port, {**ASK, "model": model}) as stream:
                    *pieces, last = stream.events()
                assert stream.status == 200
                assert pieces
                assert set(last) == {"error"}
                assert last["error"]["type"] == "server_error"


def test_usage_of_a_stream_counts_every_call(tmp_path: Path) -> None:
    with CountingServer(lambda body: "a b") as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        body = {**ASK, "stream_options": {"include_usage": True}}
        with Serving(Settings(files=(path,))) as server, Stream(server.port, body) as stream:
            *_, last, done = stream.events()
        assert up.total == 4
    assert done == "[DONE]"
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 4 * 10
    assert [(node["id"], node["calls"]) for node in last["archon"]["nodes"]] == [("drafts", 3), ("fused", 1)]


def test_a_client_that_leaves_takes_all_upstream_work_with_it(tmp_path: Path) -> None:
    """Three drafts hang at the upstream; the client closes, and the upstream sees all three connections close."""
    with CountingServer(lambda body: Reply(hang=True)) as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,), keep_alive=0.05)) as server:
            with Stream(server.port, ASK) as stream:
                assert next(iter(stream.blocks())) == ": keep-alive"
                assert until(lambda: up.under_way == 3)
            assert until(lambda: up.under_way == 0)
            assert up.left == 3


def test_a_client_that_leaves_a_whole_answer_or_a_plain_model_cancels_too(tmp_path: Path) -> None:
    async def leave(port: int, model: str, up: CountingServer, expected: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        data = b'{"model": "%s", "messages": [{"role": "user", "content": "q"}]}' % model.encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        assert await asyncio.to_thread(until, lambda: up.under_way == expected)
        writer.close()
        assert await asyncio.to_thread(until, lambda: up.under_way == 0)
        del reader

    with CountingServer(lambda body: Reply(hang=True)) as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as server:
            asyncio.run(leave(server.port, "archon/s", up, 3))
            asyncio.run(leave(server.port, "m", up, 1))
            assert up.left == 4


def test_stopping_the_server_lets_streams_end(tmp_path: Path) -> None:
    path = system(tmp_path, "s", fused(), [fake("m", ["one two three four"], token_latency=0.03)])
    with Serving(Settings(files=(path,))) as server, Stream(server.port, ASK) as stream:
        blocks = stream.blocks()
        first = next(blocks)
        server.stop()
        rest = list(blocks)
    assert "content" in first
    assert rest[-1] == "data: [DONE]"


@pytest.mark.parametrize("model", ["archon/s", "m"])
def test_what_the_server_has_no_time_to_end_is_told_an_error(
    tmp_path: Path, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The upstream says a word every half minute; the server gives what is under way no time."""
    with CountingServer(lambda body: Reply("one two", between=30.0 if body.get("stream") else 0.0)) as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with (
            Serving(Settings(files=(path,)), drain=0) as server,
            Stream(server.port, {**ASK, "model": model}) as chat,
            Stream(server.port, {**RESPONSE, "model": model}, "/v1/responses") as response,
        ):
            blocks, events = chat.blocks(), response.blocks()
            begun = next(blocks), next(events)
            server.stop()
            *_, last = blocks
            *_, told = events
    assert all("error" not in first for first in begun)
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "server_stopped"
    assert told.startswith("event: error\n")
    assert json.loads(told.partition("data: ")[2])["code"] == "server_stopped"
    assert "Exception in ASGI application" not in caplog.text


def test_an_answer_that_has_not_begun_when_the_server_stops_is_a_503(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with CountingServer(lambda body: Reply(hang=True)) as up, ThreadPoolExecutor() as pool:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,)), drain=0) as server:
            asked = [
                {**ASK, "stream": stream, "model": model} for stream in (True, False) for model in ("archon/s", "m")
            ]
            answers = [pool.submit(ask, server.port, body) for body in asked]
            assert until(lambda: up.under_way == 8)
            server.stop()
            found = [answer.result() for answer in answers]
    assert [(each.status, each.error["code"]) for each in found] == [(503, "server_stopped")] * 4
    assert all(each.headers["x-should-retry"] == "false" for each in found)
    assert "Exception in ASGI application" not in caplog.text


def test_an_embedded_local_model_streams_and_health_goes_on(tmp_path: Path) -> None:
    """The zoo's model computes in a thread; /health answers while it does."""
    nodes = [{"id": "one", "layer": "generator", "model": "zoo/abacus", "params": {"samples": 4}}]
    nodes.append({"id": "vote", "layer": "vote", "inputs": ["one"]})
    path = system(tmp_path, "s", nodes, [])
    question = "A shop sells 4 pens a day. How many does it sell in 3 days?"
    body = {**ASK, "messages": [{"role": "user", "content": question}], "seed": 1}
    with Serving(Settings(files=(path,), keep_alive=0.02)) as server, Stream(server.port, body) as stream:
        blocks = stream.blocks()
        first = next(blocks)
        healthy = ask(server.port, b"", "/health", method="GET")
        rest = list(blocks)
    assert first == ": keep-alive"
    assert healthy.status == 200
    assert rest[-1] == "data: [DONE]"
