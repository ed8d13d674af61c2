"""An upstream's refusal is told as it was said: its status, code and wait, whatever they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archon.proxy.settings import Settings
from tests.proxy.serving import Serving, fused, system, upstream
from tests.proxy.test_passthrough import ASK
from tests.proxy.wire import Answer, ask
from tests.servers import CountingServer, Reply

STATUSES = (400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 418, 422, 425, 429, 451, 500, 501, 502, 503, 504, 529)


def answers(folder: Path, *replies: Reply) -> list[Answer]:
    with CountingServer(script=replies) as up:
        path = system(folder, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as server:
            return [ask(server.port, ASK) for _ in replies]


def test_every_refusal_keeps_its_status(tmp_path: Path) -> None:
    found = answers(tmp_path, *(Reply("no", status=status) for status in STATUSES))
    assert [each.status for each in found] == list(STATUSES)
    kinds = {each.status: each.error["type"] for each in found}
    assert {kinds[status] for status in STATUSES if status < 500} == {"scripted"}, "the upstream's own word"
    assert {kinds[status] for status in STATUSES if status >= 500} == {"server_error"}


def test_a_refusal_without_words_is_of_a_type_that_fits(tmp_path: Path) -> None:
    found = answers(tmp_path, Reply(raw=b"no", status=402), Reply(raw=b"[]", status=500), Reply(raw=b"{}", status=429))
    assert [each.error["type"] for each in found] == ["invalid_request_error", "server_error", "rate_limit_error"]


def test_a_redirect_is_no_status_for_a_client(tmp_path: Path) -> None:
    (found,) = answers(tmp_path, Reply(raw=b"", status=307, headers={"Location": "http://elsewhere/"}))
    assert found.status == 502
    assert "redirects" in found.error["message"]


@pytest.mark.parametrize("status", [402, 429, 500, 529])
def test_a_wait_and_a_code_are_passed_on(tmp_path: Path, status: int) -> None:
    raw = json.dumps({"error": {"message": "later", "type": "t", "code": "its_own", "param": "p"}}).encode()
    (found,) = answers(tmp_path, Reply(raw=raw, status=status, headers={"Retry-After": "7"}))
    assert (found.status, found.error["code"]) == (status, "its_own")
    assert found.headers["retry-after"] == "7"


def test_a_context_that_is_too_small_is_told_by_its_code(tmp_path: Path) -> None:
    (found,) = answers(tmp_path, Reply(raw=b'{"error": {"message": "prompt is too long"}}', status=413))
    assert (found.status, found.error["code"]) == (413, "context_length_exceeded")
