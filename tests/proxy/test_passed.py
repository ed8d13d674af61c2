"""Requests that were passed through are listed beside the others: what they took, never what was answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archon.proxy import passed as module
from archon.proxy.passed import question
from archon.proxy.traces import TraceStore
from tests.proxy.serving import upstream
from tests.proxy.test_passthrough import ASK, Keyed
from tests.proxy.test_streaming import until
from tests.proxy.wire import ask
from tests.servers import CountingServer, Reply


def listed(keyed: Keyed) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(
        keyed.server.port, b"", "/ui/api/traces", method="GET", headers=keyed.headers
    ).json["data"]
    return found


def test_a_plain_models_request_is_listed_with_what_it_took(tmp_path: Path) -> None:
    # 7 prompt tokens at 1 and 3 completion tokens at 2 dollars a million: 13 micro-dollars.
    with CountingServer(lambda body: "the answer itself") as up, Keyed(tmp_path, up.endpoint) as keyed:
        assert keyed.ask(model="m").status == 200
        assert until(lambda: len(listed(keyed)) == 1)
        (row,) = listed(keyed)
        opened = ask(keyed.server.port, b"", f"/ui/api/traces/{row['trace_id']}", method="GET", headers=keyed.headers)
        assert ask(keyed.server.port, b"", "/ui/api/traces", method="GET").status == 401
    assert (row["architecture"], row["status"], row["calls"], row["error"]) == ("m", 200, 1, None)
    assert (row["prompt_tokens"], row["completion_tokens"], row["cost_usd"]) == (7, 3, 13e-6)
    assert row["question"] == "q"
    assert opened.json["trace"] == {}
    assert "the answer itself" not in opened.body.decode()


def test_a_failure_is_listed_with_its_status(tmp_path: Path) -> None:
    with (
        CountingServer(lambda body: Reply(status=429)) as up,
        Keyed(tmp_path, up.endpoint, upstream(up.endpoint, price=None)) as keyed,
    ):
        assert keyed.ask(model="m").status == 429
        assert until(lambda: len(listed(keyed)) == 1)
        (row,) = listed(keyed)
    assert row["status"] == 429
    assert row["error"]
    assert row["cost_usd"] is None, "an unknown price is no price of nothing"


def test_what_was_noted_is_on_file_when_the_server_has_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT", 3600.0)
    monkeypatch.setattr(module, "MOST", 3)
    with CountingServer() as up, Keyed(tmp_path, up.endpoint) as keyed:
        for _ in range(5):
            assert keyed.ask(model="m").status == 200
    store = TraceStore(tmp_path / "proxy.traces.db")
    rows = store._rows("SELECT key_id, trace FROM traces", ())
    assert [tuple(row) for row in rows] == [(keyed.record.id, "{}")] * 3, "the newest of a second"


async def test_they_push_no_architectures_request_out(tmp_path: Path) -> None:
    store = TraceStore(tmp_path / "t.db", max_count=2)
    for number in range(3):
        store.save(f"tr_{number}", "key_1", {}, lambda: {"runs": []})
    for number in range(5):
        store.save(f"pt_{number}", "key_1", {}, dict)
    await store.flush()
    store.prune()
    assert {row["trace_id"] for row in await store.list("key_1")} == {"tr_1", "tr_2", "pt_3", "pt_4"}
    await store.aclose()


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        ([{"role": "user", "content": "first"}, {"role": "user", "content": "x" * 300}], "x" * 200),
        ([{"content": [{"type": "text", "text": "look"}, {"type": "image_url"}, {"text": 3}, 7]}], "look"),
        ([{"content": None}], ""),
        (["words"], ""),
        ([], ""),
        ("words", ""),
        (None, ""),
    ],
)
def test_the_question_is_read_from_whatever_came(messages: object, found: str) -> None:
    assert question(messages) == found


def test_an_architectures_request_is_listed_once(tmp_path: Path) -> None:
    with CountingServer() as up, Keyed(tmp_path, up.endpoint) as keyed:
        assert keyed.ask(model="archon/s").status == 200
        assert keyed.ask(model="m").status == 200
        assert until(lambda: len(listed(keyed)) == 2)
        rows = listed(keyed)
    assert sorted(row["architecture"] for row in rows) == ["archon/s", "m"]


def test_requests_of_one_name_are_listed_one_by_one(tmp_path: Path) -> None:
    with CountingServer() as up, Keyed(tmp_path, up.endpoint) as keyed:
        headers = {**keyed.headers, "X-Request-Id": "mine"}
        for _ in range(3):
            assert ask(keyed.server.port, ASK, headers=headers).status == 200
        assert until(lambda: len(listed(keyed)) == 3)
        rows = listed(keyed)
    assert {row["request_id"] for row in rows} == {"mine"}
    assert len({row["trace_id"] for row in rows}) == 3


def test_a_request_that_was_refused_here_made_no_call(tmp_path: Path) -> None:
    with CountingServer() as up, Keyed(tmp_path, up.endpoint, usd_per_day=5) as keyed:
        assert keyed.ask(model="m").status == 429
        assert until(lambda: len(listed(keyed)) == 1)
        (row,) = listed(keyed)
        assert up.total == 0
    assert (row["status"], row["calls"], row["cost_usd"]) == (429, 0, 0.0)


def told(keyed: Keyed) -> list[tuple[int, float]]:
    return [(row["calls"], row["cost_usd"]) for row in listed(keyed)]


def test_a_call_that_was_charged_its_worst_case_is_listed_with_it(tmp_path: Path) -> None:
    with CountingServer(lambda body: Reply(drop=True)) as up, Keyed(tmp_path, up.endpoint) as keyed:
        assert keyed.ask(model="m", max_tokens=20).status == 502
        # The key is charged and the request listed after the answer, each in its time.
        assert until(lambda: [(1, keyed.spent().spent_micro_usd / 1e6)] == told(keyed))
        assert keyed.spent().spent_micro_usd > 40
