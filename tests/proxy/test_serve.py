"""`archon serve` as a process: what it refuses, how it reloads, how it ends."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from archon.proxy.keys import open_store
from tests.proxy.serving import Json, fake, fused, system, upstream
from tests.proxy.test_streaming import until
from tests.proxy.wire import Stream, ask
from tests.servers import CountingServer, Reply

ASK: Json = {"messages": [{"role": "user", "content": "q"}]}


class Process:
    """A running server."""

    def __init__(self, child: subprocess.Popen[str], greeting: str) -> None:
        self.child = child
        self.greeting = greeting
        found = re.search(r"http://[^:]+:(\d+)/", greeting)
        assert found, greeting
        self.port = int(found[1])


def command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-c", "from archon.cli import main; main()", "serve", *arguments]


@contextmanager
def serving(*arguments: str) -> Iterator[Process]:
    """The command, until the test is done with it."""
    child = subprocess.Popen(command(arguments), stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    try:
        process = Process(child, child.stderr.readline())
        assert until(lambda: listening(process.port), 60)
        yield process
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        child.stderr.close()


def listening(port: int) -> bool:
    try:
        return ask(port, b"", "/health", method="GET").status == 200
    except OSError:
        return False


def refused(*arguments: str) -> str:
    """What the command says where it ends with 2."""
    done = subprocess.run(command(arguments), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return system(tmp_path, "s", fused(), [fake("m", ["first words"], token_latency=0.05)])


def test_it_serves_reloads_and_drains(tmp_path: Path, path: Path) -> None:
    """SIGHUP takes a new file and refuses a broken one; SIGTERM lets a stream end first."""
    store = ("--store", str(tmp_path / "proxy.db"))
    with serving(str(path), "--port", "0", *store) as process:
        assert "archon/s, m" in process.greeting

        def said() -> str:
            answer = ask(process.port, {**ASK, "model": "archon/s"})
            return str(answer.json["choices"][0]["message"]["content"])

        assert said() == "first words"
        system(tmp_path, "s", fused(), [fake("m", ["second words one two three"], token_latency=0.05)])
        process.child.send_signal(signal.SIGHUP)
        assert until(lambda: said() == "second words one two three")
        path.write_text("architecture: {nodes: [")
        process.child.send_signal(signal.SIGHUP)
        assert process.child.stderr is not None
        assert any("what was served goes on" in line for line in process.child.stderr), "the refusal is told"
        assert said() == "second words one two three"
        with Stream(process.port, {**ASK, "model": "archon/s", "stream": True}) as stream:
            blocks = stream.blocks()
            next(blocks)
            process.child.send_signal(signal.SIGTERM)
            assert list(blocks)[-1] == "data: [DONE]"
        assert process.child.wait(90) == -signal.SIGTERM, "it drains, then dies of the signal it got"


@pytest.mark.parametrize("model", ["archon/s", "m"])
def test_a_stream_that_it_has_no_time_to_end_is_told_so(tmp_path: Path, model: str) -> None:
    """The upstream says a word every half minute, and the drain is no second long."""
    with CountingServer(lambda body: Reply("one two", between=30.0 if body.get("stream") else 0.0)) as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        arguments = (str(path), "--port", "0", "--drain", "0", "--store", str(tmp_path / "proxy.db"))
        with serving(*arguments) as process, Stream(process.port, {**ASK, "model": model, "stream": True}) as stream:
            blocks = stream.blocks()
            next(blocks)
            process.child.send_signal(signal.SIGTERM)
            *_, last = blocks
            assert process.child.wait(90) == -signal.SIGTERM
            assert process.child.stderr is not None
            assert "Traceback" not in process.child.stderr.read()
    assert "server_stopped" in last


def test_a_key_closes_the_door(tmp_path: Path, path: Path) -> None:
    store = tmp_path / "proxy.db"
    keys = open_store(str(store))
    secret, _ = keys.create("team")
    keys.close()
    with serving(str(path), "--port", "0", "--store", str(store)) as process:
        without = ask(process.port, {**ASK, "model": "archon/s"})
        wrong = ask(process.port, {**ASK, "model": "archon/s"}, headers={"Authorization": "Bearer sk-archon-x"})
        right = ask(process.port, {**ASK, "model": "archon/s"}, headers={"Authorization": f"Bearer {secret}"})
    assert [each.status for each in (without, wrong, right)] == [401, 401, 200]
    assert without.error["code"] == "invalid_api_key"


def test_it_binds_nowhere_else_without_a_key(tmp_path: Path, path: Path) -> None:
    said = refused(str(path), "--host", "0.0.0.0", "--port", "0", "--store", str(tmp_path / "proxy.db"))
    assert "archon keys create" in said


def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, path: Path) -> None:
    store = ("--store", str(tmp_path / "proxy.db"))
    assert "no such file" in refused(str(tmp_path / "none.yaml"), "--port", "0", *store)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "cannot listen" in refused(str(path), "--port", str(taken.getsockname()[1]), *store)
    twin = tmp_path / "twin"
    twin.mkdir()
    other = system(twin, "s", fused(), [fake("m", ["first words"], token_latency=0.05)])
    assert "log level 'foo'" in refused(str(path), "--log-level", "foo", "--port", "0", *store)
    assert "served already" in refused(str(path), str(other), "--port", "0", *store)


def test_a_key_of_an_upstream_that_is_not_set_is_told_at_the_start(tmp_path: Path) -> None:
    row = {"id": "m", "endpoint": "http://127.0.0.1:9/v1", "key_env": "NOT_SET_ANYWHERE"}
    path = system(tmp_path, "s", fused(), [row])
    assert "NOT_SET_ANYWHERE" in refused(str(path), "--port", "0", "--store", str(tmp_path / "proxy.db"))
