"""SIGHUP to a real server: new files are served, a broken one changes nothing, requests under way go on."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from archon.proxy.keys import open_store
from tests.proxy.processes import process
from tests.proxy.serving import system, upstream, voted
from tests.servers import CountingServer, Reply


async def hash_of(session: aiohttp.ClientSession, root: str) -> str:
    """The hash of what is served as archon/team."""
    async with session.get(f"{root}/ui/api/models") as response:
        shown = (await response.json())["data"]
    found: str = next(each["hash"] for each in shown if each["id"] == "archon/team")
    return found


async def changed(session: aiohttp.ClientSession, root: str, before: str) -> str:
    """The hash, once it is another one."""
    async with asyncio.timeout(60):
        while (now := await hash_of(session, root)) == before:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return now


def asked(stream: bool = False) -> dict[str, Any]:
    return {"model": "archon/team", "messages": [{"role": "user", "content": "6 * 7?"}], "stream": stream}


async def test_sighup_serves_the_new_file_and_never_a_broken_one(tmp_path: Path) -> None:
    store = str(tmp_path / "proxy.db")
    key, _ = open_store(store).create("ann")
    gate = asyncio.Event()
    with CountingServer(lambda _: Reply("42", latency=1.0 if gate.is_set() else 0.0)) as counting:
        rows = [upstream(counting.endpoint)]
        file = system(tmp_path, "team", voted(samples=1), rows)
        with process(file, store, 1) as (running, port):
            root = f"http://127.0.0.1:{port}"
            async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
                first = await hash_of(session, root)
                gate.set()
                under_way = asyncio.create_task(_answer(session, root))
                while not counting.under_way:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)

                system(tmp_path, "team", voted(samples=5), rows)
                running.send_signal(signal.SIGHUP)
                second = await changed(session, root, first)
                assert await under_way == "42"
                assert counting.total == 1, "what was under way goes on with what it began with"

                gate.clear()
                assert await _answer(session, root) == "42"
                assert counting.total == 1 + 5

                file.write_text("architecture: {nodes: [{id: a, layer: no_such_layer}], output: a}")
                running.send_signal(signal.SIGHUP)
                assert running.stdout is not None
                line = await asyncio.to_thread(running.stdout.readline)
                assert "no_such_layer" in line
                assert "what was served goes on" in line
                assert await hash_of(session, root) == second
                assert await _answer(session, root) == "42"
            assert running.poll() is None


async def _answer(session: aiohttp.ClientSession, root: str) -> str:
    async with session.post(f"{root}/v1/chat/completions", json=asked()) as response:
        assert response.status == 200, await response.text()
        content: str = (await response.json())["choices"][0]["message"]["content"]
        return content


def test_the_helper_refuses_a_server_that_does_not_start(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="did not start"),
        process(tmp_path / "none.yaml", str(tmp_path / "p.db"), 1),
    ):
        pass
