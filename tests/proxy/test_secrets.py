"""No key, header or upstream credential gets into a log, a trace, a metric, an error, a span or a file."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from archon.proxy import logs
from archon.proxy.keys import open_store
from archon.proxy.settings import Settings
from archon.proxy.telemetry import Tracing
from tests.proxy.serving import Serving, fused, system, upstream
from tests.servers import CountingServer, Reply

sdk = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter", reason="the SDK is not installed")

CREDENTIAL = "sk-upstream-0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    root, ours = logging.getLogger(), logging.getLogger("archon.proxy")
    kept = (root.handlers[:], root.level, ours.handlers[:], ours.level, ours.propagate)
    stream = io.StringIO()
    logs.configure("debug", stream)
    root.addHandler(logging.StreamHandler(stream))
    root.setLevel(logging.DEBUG)
    yield stream
    root.handlers[:], root.level = kept[0], kept[1]
    ours.handlers[:], ours.level, ours.propagate = kept[2:]


def answer(body: dict[str, Any]) -> Reply:
    """An upstream that tells its caller's credential in its errors, as some do."""
    asked = str(body["messages"][-1]["content"])
    if "refuse" in asked:
        return Reply(f"Incorrect API key provided: {CREDENTIAL}. Authorization: Bearer {CREDENTIAL}", status=401)
    if "break" in asked:
        return Reply(raw=b"not json: Bearer " + CREDENTIAL.encode())
    if "stall" in asked:
        return Reply("one two three", break_after=2)
    return Reply("fine")


async def ask(session: aiohttp.ClientSession, root: str, key: str, body: Any) -> str:
    headers = {"Authorization": f"Bearer {key}", "X-Api-Key": key, "Cookie": f"key={key}"}
    async with session.post(f"{root}/v1/chat/completions", json=body, headers=headers) as response:
        return f"{dict(response.headers)} {await response.text()}"


async def everything(server: Serving, key: str) -> list[str]:
    """All that can be read from outside, after every kind of request."""
    found = []
    async with aiohttp.ClientSession() as session:
        for model in ("archon/team", "plain"):
            for words in ("hello", "refuse", "break", "stall"):
                for stream in (False, True):
                    body = {"model": model, "messages": [{"role": "user", "content": words}], "stream": stream}
                    found.append(await ask(session, server.root, key, body))
        found.append(await ask(session, server.root, key, {"model": "nope", "messages": []}))
        found.append(await ask(session, server.root, key + "x", {"model": "plain"}))
        signed = {"Authorization": f"Bearer {key}"}
        for path in ("/metrics", "/v1/models", "/ui/api/models", "/ui/api/traces", "/openapi.json", "/ready"):
            async with session.get(server.root + path, headers=signed) as response:
                found.append(f"{path} {response.status} {await response.text()}")
        async with session.get(f"{server.root}/ui/api/traces", headers=signed) as response:
            rows = (await response.json())["data"]
        assert len(rows) >= 8
        for row in rows:
            async with session.get(f"{server.root}/ui/api/traces/{row['trace_id']}", headers=signed) as response:
                found.append(await response.text())
    return found


def test_no_secret_gets_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO) -> None:
    monkeypatch.setenv("UPSTREAM_CREDENTIAL", CREDENTIAL)
    store = str(tmp_path / "proxy.db")
    key, _ = open_store(store).create("ann", usd_per_day=10**9)
    exporter = sdk.InMemorySpanExporter()
    with CountingServer(answer) as counting:
        rows = [upstream(counting.endpoint, name, key_env="UPSTREAM_CREDENTIAL") for name in ("plain", "m")]
        file = system(tmp_path, "team", fused(), rows)
        with Serving(Settings(files=(file,), store=store, cache=tmp_path / "cache")) as server:
            server.services.tracing = Tracing.exporting(exporter)
            read = asyncio.run(everything(server, key))
            server.services.tracing.close()
        assert any(CREDENTIAL in str(headers) for headers in counting.headers), "the credential is used at all"
    spans = [span.to_json() for span in exporter.get_finished_spans()]
    files = [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert spans
    assert logged.getvalue()
    for place, texts in {"answers": read, "logs": [logged.getvalue()], "spans": spans, "files": files}.items():
        for text in texts:
            for secret in (key, key.removeprefix("sk-archon-"), CREDENTIAL, "Bearer sk-"):
                assert secret not in text, f"{secret[:12]}… in {place}: {text[:600]}"


async def test_a_key_never_reads_anothers_traces(tmp_path: Path) -> None:
    store = str(tmp_path / "proxy.db")
    keys = open_store(store)
    ann, ben = keys.create("ann")[0], keys.create("ben")[0]
    with CountingServer() as counting:
        file = system(tmp_path, "team", fused(), [upstream(counting.endpoint)])
        with Serving(Settings(files=(file,), store=store)) as server:
            async with aiohttp.ClientSession() as session:
                body = {"model": "archon/team", "messages": [{"role": "user", "content": "ann's own words"}]}
                await ask(session, server.root, ann, body)
                await server.services.traces.flush()  # type: ignore[union-attr]
                seen = {}
                for name, key in (("ann", ann), ("ben", ben)):
                    signed = {"Authorization": f"Bearer {key}"}
                    async with session.get(f"{server.root}/ui/api/traces", headers=signed) as response:
                        seen[name] = (await response.json())["data"]
                assert [row["question"] for row in seen["ann"]] == ["ann's own words"]
                assert seen["ben"] == []
                path = f"{server.root}/ui/api/traces/{seen['ann'][0]['trace_id']}"
                for key, status in ((ann, 200), (ben, 404), ("none", 401)):
                    async with session.get(path, headers={"Authorization": f"Bearer {key}"}) as response:
                        assert response.status == status
                        assert ("ann's own words" in await response.text()) == (status == 200)


@pytest.mark.parametrize(
    "path",
    [
        "/ui/static/../pages.py",
        "/ui/static/%2e%2e%2fpages.py",
        "/ui/static/..%2f..%2f..%2fetc%2fpasswd",
        "/ui/static/%00",
        "/ui/static/",
        "/ui/api/traces/..%2f..%2fproxy.db",
        "/ui/api/traces/' OR 1=1 --",
    ],
)
async def test_no_path_leads_out_of_the_pages_folder(tmp_path: Path, path: str) -> None:
    with CountingServer() as counting:
        file = system(tmp_path, "team", fused(), [upstream(counting.endpoint)])
        with Serving(Settings(files=(file,), store=str(tmp_path / "proxy.db"))) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            request = f"GET {path.replace(' ', '%20')} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            writer.write(request.encode())
            got = await reader.read(-1)
            writer.close()
            assert got.split(b" ")[1] == b"404"
            assert b"import annotations" not in got
            assert b"root:" not in got


async def test_the_page_forbids_scripts_of_others(tmp_path: Path) -> None:
    with CountingServer() as counting:
        file = system(tmp_path, "team", fused(), [upstream(counting.endpoint)])
        with Serving(Settings(files=(file,), store=str(tmp_path / "proxy.db"))) as server:
            async with aiohttp.ClientSession() as session:
                for path in ("/ui", "/ui/static/app.js", "/ui/static/app.css", "/ui/api/traces"):
                    async with session.get(server.root + path) as response:
                        policy = response.headers["content-security-policy"]
                        assert response.status == 200
                        assert "default-src 'none'" in policy
                        assert "unsafe" not in policy
                        assert response.headers["x-content-type-options"] == "nosniff"
                async with session.get(f"{server.root}/ui/api/models") as response:
                    shown = json.loads(await response.text())["data"]
        team = next(each for each in shown if each["id"] == "archon/team")
        assert [box["lines"][0] for box in team["picture"]["boxes"]] == ["generator × 3", "fuser"]
        assert team["picture"]["edges"][0]["source"] == "drafts"
