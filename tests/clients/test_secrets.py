"""A key is in no error, log, cache, journal, file or repr, whatever goes wrong and whatever the upstream echoes."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

import pytest

from archon.budget import Budget
from archon.clients.retry import Attempt
from archon.clients.stack import ClientStack
from archon.clients.store import CacheStore
from archon.errors import ArchonError
from archon.journal import Journal
from archon.models import ModelTable
from archon.types import Request, Sampling, user
from tests.servers import CountingServer, Reply

KEY = "canary-5up3r-s3cr3t-k3y"
PROMPT = "the private question that no log may hold"
ECHO = f"you sent Authorization: Bearer {KEY} and {PROMPT}"

REPLIES = {
    "echoed 400": Reply(ECHO, status=400),
    "echoed 401": Reply(ECHO, status=401),
    "echoed 429": Reply(ECHO, status=429, headers={"retry-after": "0"}),
    "echoed 500": Reply(ECHO, status=500),
    "plain body": Reply(raw=ECHO.encode(), status=502),
    "not json": Reply(raw=ECHO.encode()),
    "no choices": Reply(raw=b'{"choices": 3}'),
    "error in 200": Reply(raw=('{"error": {"message": "' + ECHO + '"}}').encode()),
    "redirect": Reply("", status=302, headers={"location": f"http://elsewhere/{KEY}"}),
    "dropped": Reply(drop=True),
    "hanging": Reply(hang=True),
    "broken stream": Reply(chunks=(b'data: {"error": {"message": "' + ECHO.encode() + b'"}}\n\n',)),
    "an answer": Reply("fine"),
}


@pytest.mark.parametrize("name", REPLIES)
async def test_no_secret_and_no_prompt_leaks(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CANARY", KEY)
    caplog.set_level(logging.DEBUG)
    said: list[str] = []

    def note(attempt: Attempt) -> None:
        said.append(f"{attempt!r} {attempt.error}")

    with CountingServer(lambda body: REPLIES[name]) as server:
        row = {"id": "m", "endpoint": server.endpoint, "key_env": "CANARY", "timeout": 0.3, "retries": 1}
        row["options"] = {"header_env": {"X-Other": "CANARY"}}
        rows = ModelTable.from_list([row])
        budget = Budget(tokens=10**6, journal=Journal(tmp_path / "budget.jsonl"))
        async with ClientStack(rows, cache=CacheStore(tmp_path / "c.sqlite"), budget=budget) as stack:
            client = stack.open("m", on_attempt=note)
            said += [await _everything_said(client, way) for way in ("complete", "stream")]
            said += [repr(client), repr(stack), repr(vars(stack)), repr(rows), str(rows.to_list())]
        assert server.headers[0]["Authorization"] == f"Bearer {KEY}"  # it was really sent
    said.append(caplog.text)
    assert KEY not in "".join(said)
    assert PROMPT not in "".join(said)
    kept = b"".join(_contents(tmp_path))
    assert KEY.encode() not in kept
    assert PROMPT.encode() not in kept


def _contents(folder: Path) -> list[bytes]:
    files = [file.read_bytes() for file in folder.iterdir()]
    assert len(files) >= 2  # the cache and the journal
    return files


async def _everything_said(client: Any, way: str) -> str:
    """All that a failure shows: its text, its causes, its traceback with the values of no variable."""
    request = Request((user(PROMPT),), Sampling(max_tokens=5))
    try:
        if way == "complete":
            return repr((await client.complete(request)).usage)
        return repr([chunk async for chunk in client.stream(request)])
    except ArchonError as error:
        chain: list[BaseException] = [error]
        while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
            chain.append(cause)
        shown = "".join(traceback.format_exception(error))
        return shown + "".join(f"{each!s} {each!r} {each.args!r}" for each in chain)


def test_a_key_that_no_header_can_hold_is_refused_without_telling_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", f"{KEY}\nX-Injected: yes")
    rows = ModelTable.from_list([{"id": "m", "endpoint": "http://x/v1", "key_env": "CANARY"}])
    with pytest.raises(ArchonError, match="CANARY holds characters") as wrong:
        ClientStack(rows).open("m")
    assert KEY not in str(wrong.value)
