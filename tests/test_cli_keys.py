"""`archon keys`: a key is printed once, to standard output alone; the rest is for people."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from archon.cli import main
from archon.proxy.keys import open_store
from archon.proxy.ledger import open_ledger


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("ARCHON_STORE", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return str(tmp_path / "proxy.db")


def run(*words: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(["keys", *words])
    return ended.value.code


def test_create_prints_the_key_alone_so_that_it_can_be_piped(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("create", "ann", "--usd-per-day", "2.5", "--requests-per-minute", "60", "--store", store) == 0
    told = capsys.readouterr()
    (record,) = open_store(store).list()
    assert open_store(store).find(told.out.strip()) == record
    assert (record.usd_per_day, record.requests_per_minute, record.tokens_per_day) == (2_500_000, 60, None)
    assert told.out.strip() not in told.err
    assert record.id in told.err


def test_list_shows_limits_use_and_state_and_never_a_key(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    secret, record = open_store(store).create("ann", usd_per_day=1_250_000)

    async def spend() -> None:
        ledger = open_ledger(store)
        (await ledger.reserve(record.id, record, 500, 40, "r")).settle(489, 31)
        await ledger.aclose()

    asyncio.run(spend())
    assert run("list", "--store", store) == 0
    told = capsys.readouterr().out
    for shown in (record.id, "ann", "1.25", "$0.000489, 31 tokens", "in force"):
        assert shown in told
    assert secret not in told
    run("revoke", record.id, "--store", store)
    capsys.readouterr()
    run("list", "--store", store)
    assert "revoked" in capsys.readouterr().out


def test_revoke_puts_a_key_out_of_force(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    secret, record = open_store(store).create("ann")
    assert run("revoke", record.id, "--store", store) == 0
    assert open_store(store).find(secret) is None
    assert run("revoke", "key_nope", "--store", store) == 2
    assert "archon keys list" in capsys.readouterr().err


def test_the_store_may_be_named_by_the_environment(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARCHON_STORE", store)
    assert run("create", "ann") == 0
    assert [each.name for each in open_store(store).list()] == ["ann"]


def test_a_store_that_cannot_be_opened_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("list", "--store", str(tmp_path)) == 2
    told = capsys.readouterr().err
    assert "cannot be opened" in told
    assert told.count("\n") == 1


def test_listing_leaves_nothing_behind(store: str, tmp_path: Path) -> None:
    open_store(store).create("ann")
    assert run("list", "--store", store) == 0
    assert list((tmp_path / "proxy.db.workers").iterdir()) == []
