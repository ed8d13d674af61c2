"""Past requests: each key sees its own, for a while, and no more than a number of them."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from archon.errors import ConfigError
from archon.proxy import traces as module
from archon.proxy.traces import TraceStore


def saved(store: TraceStore, trace_id: str, key: str | None = "key_1", **summary: object) -> None:
    store.save(trace_id, key, summary, lambda: {"of": trace_id})


async def test_what_is_saved_is_found_the_newest_first(tmp_path: Path) -> None:
    now = 100.0
    store = TraceStore(tmp_path / "t.db", clock=lambda: now)
    for number in range(3):
        now += 1
        saved(store, f"tr_{number}", calls=number)
    await store.flush()
    assert [row["trace_id"] for row in await store.list("key_1", 2)] == ["tr_2", "tr_1"]
    assert await store.get("key_1", "tr_1") == {
        "trace_id": "tr_1", "at": 102.0, "summary": {"calls": 1}, "trace": {"of": "tr_1"},
    }  # fmt: skip
    await store.aclose()


async def test_a_key_never_reads_anothers(tmp_path: Path) -> None:
    store = TraceStore(tmp_path / "t.db")
    saved(store, "tr_a", "key_a")
    saved(store, "tr_b", "key_b")
    saved(store, "tr_0", None)
    await store.flush()
    for caller, own in (("key_a", "tr_a"), ("key_b", "tr_b"), (None, "tr_0")):
        assert [row["trace_id"] for row in await store.list(caller)] == [own]
        for trace_id in ("tr_a", "tr_b", "tr_0"):
            assert (await store.get(caller, trace_id) is not None) == (trace_id == own)
    await store.aclose()


async def test_a_key_cannot_take_anothers_place_by_using_its_id(tmp_path: Path) -> None:
    store = TraceStore(tmp_path / "t.db")
    saved(store, "tr_same", "key_a", who="a")
    saved(store, "tr_same", "key_b", who="b")
    await store.flush()
    for caller, who in (("key_a", "a"), ("key_b", "b")):
        found = await store.get(caller, "tr_same")
        assert found is not None
        assert found["summary"] == {"who": who}
    await store.aclose()


async def test_old_ones_go_and_are_not_shown_even_before(tmp_path: Path) -> None:
    now = 1000.0
    store = TraceStore(tmp_path / "t.db", max_age=60, clock=lambda: now)
    saved(store, "tr_old")
    await store.flush()
    now += 61
    assert await store.list("key_1") == []
    assert await store.get("key_1", "tr_old") is None
    saved(store, "tr_new")
    await store.aclose()
    store.prune()
    assert _ids(store) == ["tr_new"]


async def test_only_the_newest_of_each_key_are_kept(tmp_path: Path) -> None:
    now = 0.0
    store = TraceStore(tmp_path / "t.db", max_count=3, clock=lambda: now)
    for number in range(10):
        now += 1
        saved(store, f"tr_{number}", "key_a")
    saved(store, "tr_b", "key_b")
    await store.aclose()
    store.prune()
    assert _ids(store) == ["tr_7", "tr_8", "tr_9", "tr_b"]


async def test_where_too_many_wait_the_newest_are_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING", 5)
    dropped: list[None] = []
    store = TraceStore(tmp_path / "t.db", dropped=lambda: dropped.append(None))
    gate = threading.Event()

    def slow() -> dict[str, object]:
        gate.wait(90)
        return {}

    for number in range(20):
        store.save(f"tr_{number}", "key_1", {}, slow)
    gate.set()
    await store.aclose()
    kept = len(_ids(store))
    assert kept in (5, 6)  # five wait; one may be in the writer's hands
    assert len(dropped) == 20 - kept


async def test_one_that_cannot_be_written_costs_only_itself(tmp_path: Path) -> None:
    dropped: list[None] = []
    store = TraceStore(tmp_path / "t.db", dropped=lambda: dropped.append(None))
    store.save("tr_bad", "key_1", {}, lambda: {"x": object()})
    saved(store, "tr_good")
    await store.flush()
    assert [row["trace_id"] for row in await store.list("key_1")] == ["tr_good"]
    assert len(dropped) == 1
    await store.aclose()


async def test_a_trace_that_is_too_large_keeps_its_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 100)
    store = TraceStore(tmp_path / "t.db")
    store.save("tr_1", "key_1", {"calls": 3}, lambda: {"text": "x" * 200})
    await store.flush()
    found = await store.get("key_1", "tr_1")
    assert found is not None
    assert found["summary"] == {"calls": 3}
    assert "larger than is kept" in json.dumps(found["trace"])
    await store.aclose()


def test_a_file_that_is_no_database_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "t.db").write_text("no database" * 100)
    with pytest.raises(ConfigError, match="cannot be opened"):
        TraceStore(tmp_path / "t.db")


def _ids(store: TraceStore) -> list[str]:
    return [row[0] for row in store._rows("SELECT trace_id FROM traces ORDER BY at, trace_id", ())]


async def test_the_list_limits_each_kind_apart(tmp_path: Path) -> None:
    now = 0.0
    store = TraceStore(tmp_path / "t.db", clock=lambda: now)
    for number in range(4):
        now += 1
        saved(store, f"tr_{number}")
    for number in range(10):
        now += 1
        store.save(f"pt_{number}", "key_1", {}, dict)
        store.save(f"pt_x{number}", "key_2", {}, dict)
    await store.flush()
    found = [row["trace_id"] for row in await store.list("key_1", 3)]
    assert found == ["pt_9", "pt_8", "pt_7", "tr_3", "tr_2", "tr_1"]
    plan = store._rows("EXPLAIN QUERY PLAN " + module.LISTED, {"key": "key_1", "oldest": 0.0, "limit": 3})
    assert not [row for row in plan if row[3].startswith("SCAN traces")], "found by an index, whatever else is kept"
    await store.aclose()


async def test_a_file_of_an_older_version_goes_on(tmp_path: Path) -> None:
    store = TraceStore(tmp_path / "t.db")
    with closing(sqlite3.connect(tmp_path / "t.db")) as db, db:
        db.execute("DROP INDEX traces_by_kind")
        db.execute("CREATE INDEX traces_by_key ON traces (key_id, at)")
        db.execute("INSERT INTO traces VALUES ('tr_old', 'key_1', 1e12, '{}', '{}')")
    await store.aclose()
    again = TraceStore(tmp_path / "t.db")
    saved(again, "tr_new")
    await again.flush()
    assert [row["trace_id"] for row in await again.list("key_1")] == ["tr_old", "tr_new"]
    await again.aclose()
