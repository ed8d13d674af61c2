"""One line a request, with what is known of it and nothing of what was said."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archon.proxy import logs
from archon.proxy.asgi import Event, Receive, Scope, Send
from archon.proxy.content import MOST, Heard, asked
from archon.proxy.keys import KeyRecord
from archon.proxy.logs import AccessLogMiddleware
from archon.proxy.settings import Settings
from tests.proxy.direct import Echo, request
from tests.proxy.serving import Serving, system, upstream, voted
from tests.proxy.wire import ask
from tests.servers import CountingServer


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    logger = logging.getLogger("archon.proxy")
    kept = (logger.handlers[:], logger.level, logger.propagate)
    stream = io.StringIO()
    logs.configure("info", stream)
    yield stream
    logger.handlers[:], logger.level, logger.propagate = kept


async def telling(scope: Scope, receive: Receive, send: Send) -> None:
    scope["archon.key"] = KeyRecord("key_1", "ann")
    scope["archon.log"].update(
        model="archon/x", calls=7, micro_usd=489, messages=[{"content": "SECRET"}], answer="SECRET", password="SECRET"
    )
    await Echo()(scope, receive, send)


async def test_a_line_says_who_what_and_how_long(lines: io.StringIO) -> None:
    app = AccessLogMiddleware(telling)
    await request(app, "POST", "/v1/chat/completions", headers={"Authorization": "Bearer SECRET"})
    line = json.loads(lines.getvalue())
    assert line.pop("ms") >= 0
    assert line.pop("request_id").startswith("req_")
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info", "logger": "archon.proxy.access", "message": "request", "method": "POST",
        "route": "/v1/chat/completions", "status": 200, "key": "key_1", "model": "archon/x", "calls": 7,
        "micro_usd": 489,
    }  # fmt: skip
    assert "SECRET" not in lines.getvalue()


async def test_content_is_logged_where_it_is_asked_for(lines: io.StringIO) -> None:
    await request(AccessLogMiddleware(telling, content=True), "POST", "/v1/chat/completions")
    line = json.loads(lines.getvalue())
    assert line["answer"] == "SECRET"
    assert "password" not in line


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/models", "/v1/models"),
        ("/v1/models/archon/secret-name", "/v1/models/{id}"),
        ("/ui/api/traces/tr_1", "/ui/api/traces/{id}"),
        ("/v1/chat/completions/../../etc/passwd", "other"),
        ("/anything", "other"),
    ],
)
async def test_a_path_that_a_client_made_up_is_in_no_line(lines: io.StringIO, path: str, route: str) -> None:
    await request(AccessLogMiddleware(Echo()), path=path)
    assert json.loads(lines.getvalue())["route"] == route


async def test_every_answer_has_the_requests_id_once() -> None:
    answer = await request(AccessLogMiddleware(Echo()))
    assert answer.headers["x-request-id"].startswith("req_")

    async def naming(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"x-request-id", scope["archon.request_id"].encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        assert len(headers) == 1

    again = await request(AccessLogMiddleware(naming), headers={"X-Request-Id": "mine-1"})
    assert again.headers["x-request-id"] == "mine-1"


@pytest.mark.parametrize("given", ["a b", "x" * 101, "<script>", "a\tb", "é"])
async def test_an_id_that_is_no_plain_word_is_replaced(given: str) -> None:
    answer = await request(AccessLogMiddleware(Echo()), headers={"X-Request-Id": given})
    assert answer.headers["x-request-id"].startswith("req_")


async def test_a_failure_is_logged_as_500_and_raised(lines: io.StringIO) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("SECRET")

    with pytest.raises(ValueError, match="SECRET"):
        await request(AccessLogMiddleware(broken), path="/v1/models")
    assert json.loads(lines.getvalue())["status"] == 500
    assert "SECRET" not in lines.getvalue()


def test_an_error_is_logged_by_its_class_and_place_without_its_words(lines: io.StringIO) -> None:
    try:
        raise ValueError("SECRET prompt")
    except ValueError:
        logging.getLogger("archon.proxy").exception("request %s failed", "req_1")
    line = json.loads(lines.getvalue())
    assert line["error"] == "ValueError"
    assert "test_logs.py" in str(line["where"])
    assert "SECRET" not in lines.getvalue()


async def test_metrics_are_told_of_every_request() -> None:
    told: list[tuple[str, str, int]] = []
    app = AccessLogMiddleware(Echo(404), observe=lambda route, model, status, _: told.append((route, model, status)))
    await request(app, path="/nowhere")
    assert told == [("other", "", 404)]


async def test_a_client_that_left_before_an_answer_is_no_error_of_the_servers(lines: io.StringIO) -> None:
    async def gone(scope: Scope, receive: Receive, send: Send) -> None:
        return

    told: list[int] = []
    await request(AccessLogMiddleware(gone, observe=lambda _, __, status, ___: told.append(status)))
    assert json.loads(lines.getvalue())["status"] == 499
    assert told == [499]


CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "the question"}]}
ASKED = [
    ("/v1/chat/completions", CHAT, CHAT["messages"]),
    ("/v1/completions", {"prompt": "the question"}, {"prompt": "the question"}),
    ("/v1/responses", {"input": "the question"}, {"input": "the question"}),
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", ["archon/s", "m"])
@pytest.mark.parametrize(("route", "body", "logged"), ASKED)
def test_a_server_told_so_logs_what_is_asked_and_answered(
    tmp_path: Path, lines: io.StringIO, route: str, body: dict[str, Any], logged: Any, model: str, stream: bool
) -> None:
    with CountingServer(lambda asked: "the-answer") as up:
        path = system(tmp_path, "s", voted(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,), log_content=True)) as server:
            answer = ask(server.port, {**body, "model": model, "stream": stream}, route)
        with Serving(Settings(files=(path,))) as server:
            ask(server.port, {**body, "model": model, "stream": stream}, route)
    first, second = (json.loads(line) for line in lines.getvalue().splitlines() if '"POST"' in line)
    assert first["messages"] == logged
    assert first["answer"] == (answer.body.decode() if stream else answer.json)
    assert "the-answer" in json.dumps(first["answer"])
    assert not {"messages", "answer"} & set(second)


async def test_of_a_long_answer_the_beginning_is_logged() -> None:
    sent: list[Event] = []

    async def send(event: Event) -> None:
        sent.append(event)

    heard = Heard(send)
    for _ in range(3):
        await heard({"type": "http.response.body", "body": b"x" * MOST, "more_body": True})
    assert heard.answer == "x" * MOST
    assert len(sent) == 3


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b'{"model": "m"}', b"[" * 100_000])
def test_a_body_without_a_conversation_logs_none(body: bytes) -> None:
    assert asked(body) is None
