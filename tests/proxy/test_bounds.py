"""Bodies that are too large, too deep, too slow or no text are refused before anything reads them."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time

import pytest
import uvicorn
from hypothesis import example, given
from hypothesis import strategies as st

from archon.proxy.bounds import BoundsMiddleware, deeper_than
from archon.proxy.slow import timed_protocol
from tests.proxy.direct import Echo, request


def bounded(app: Echo, *, max_body: int = 100, max_depth: int = 5, seconds: float = 5.0) -> BoundsMiddleware:
    return BoundsMiddleware(app, max_body=max_body, max_depth=max_depth, seconds=seconds)


async def test_a_body_within_bounds_arrives_whole() -> None:
    app = Echo()
    answer = await request(bounded(app), "POST", body=[b'{"a"', b': "\xc3\xa9"}'])
    assert (answer.status, answer.body) == (200, '{"a": "é"}.'.encode())


async def test_a_body_at_the_bound_passes_and_one_byte_more_does_not() -> None:
    app = Echo()
    assert (await request(bounded(app), "POST", body=[b"x" * 100])).status == 200
    answer = await request(bounded(app), "POST", body=[b"x" * 60, b"x" * 41])
    assert (answer.status, answer.error["code"], app.calls) == (413, "request_too_large", 1)
    assert answer.headers["connection"] == "close"


async def test_a_declared_length_is_enough_to_refuse() -> None:
    read = False

    async def pause() -> None:
        nonlocal read
        read = True

    answer = await request(bounded(Echo()), "POST", headers={"Content-Length": "101"}, pause=pause)
    assert answer.status == 413
    assert not read


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip"])
async def test_compressed_bodies_are_not_unpacked(coding: str) -> None:
    answer = await request(bounded(Echo()), "POST", headers={"Content-Encoding": coding}, body=[b"x"])
    assert (answer.status, answer.error["code"]) == (415, "unsupported_encoding")


async def test_what_is_not_utf_8_is_refused_with_its_place() -> None:
    answer = await request(bounded(Echo()), "POST", body=[b'{"a": "\xff"}'])
    assert (answer.status, answer.error["code"]) == (400, "invalid_encoding")
    assert "byte 7" in answer.error["message"]


async def test_deep_nesting_is_refused() -> None:
    assert (await request(bounded(Echo()), "POST", body=[b"[" * 5 + b"]" * 5])).status == 200
    answer = await request(bounded(Echo()), "POST", body=[b"[" * 6 + b"]" * 6])
    assert (answer.status, answer.error["code"]) == (400, "nesting_too_deep")


async def test_a_body_that_dawdles_is_refused() -> None:
    never = asyncio.Event()

    async def pause() -> None:
        await asyncio.wait_for(never.wait(), 90)

    answer = await request(bounded(Echo(), seconds=0.05), "POST", body=[b"{", b"}"], pause=pause)
    assert (answer.status, answer.error["code"]) == (408, "request_timeout")


async def test_a_client_that_leaves_while_it_sends_is_not_answered() -> None:
    app = Echo()

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def send(event: object) -> None:
        raise AssertionError("an answer to nobody")

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    await bounded(app)(scope, receive, send)
    assert app.calls == 0


JSON = st.recursive(
    st.text(alphabet='[]{}"\\ab', max_size=8) | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('"\\[{', max_size=3), inner, max_size=3),
    max_leaves=30,
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(JSON, st.integers(0, 8))
@example(['"[[[[', "\\"], 1)
def test_depth_is_counted_as_a_parser_would(value: object, bound: int) -> None:
    assert deeper_than(json.dumps(value).encode(), bound) == (depth(value) > bound)


@pytest.mark.parametrize("hostile", [b'"' + b'\\"' * 1_000_000, b'"\\' * 1_000_000, b"[" * 20 + b'"' * 2_000_001])
def test_hostile_strings_cost_no_more_than_others(hostile: bytes) -> None:
    # Quadratic work on two million bytes would take hours, and the test run's own limit would end it.
    assert deeper_than(b"[{" * 40 + hostile, 100) is False


def _serve(header_seconds: float) -> tuple[uvicorn.Server, threading.Thread, int]:
    app = BoundsMiddleware(Echo(), seconds=0.3)
    config = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        lifespan="off",
        http=timed_protocol(header_seconds),
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    return server, thread, server.servers[0].sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"", b""),  # connects and says nothing
        (b"POST / HTTP/1.1\r\nHost: x\r\n", b""),  # headers that never end
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{", b"408"),  # a body that never ends
    ],
)
def test_slow_loris_connections_are_closed(sent: bytes, answered: bytes) -> None:
    server, thread, port = _serve(90.0 if answered else 0.3)  # only the body is slow in the last
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=90) as client:
            client.sendall(sent)
            got = b""
            while piece := client.recv(65536):  # ends only when the server closes
                got += piece
        assert answered in got
    finally:
        server.should_exit = True
        thread.join(60)


def test_a_kept_connection_may_rest_and_then_ask_again() -> None:
    server, thread, port = _serve(90.0)
    ask = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=90) as client:
            for _ in range(3):
                client.sendall(ask)
                got = b""
                while not got.endswith(b"0\r\n\r\n"):
                    got += client.recv(65536)
                assert got.startswith(b"HTTP/1.1 200")
    finally:
        server.should_exit = True
        thread.join(60)
