"""One quoting secret a user: the same in every folder, readable by its owner alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from archon.clients.cache import CacheStore
from archon.clients.secret import quoting_secret
from archon.clients.stack import ClientStack
from archon.models import ModelTable


def test_it_is_made_once_and_kept_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first = quoting_secret()
    path = tmp_path / "archon-engine" / "quoting-secret"
    assert quoting_secret() == first == path.read_bytes()
    assert len(first) == 32
    assert path.stat().st_mode & 0o077 == 0
    assert list(path.parent.iterdir()) == [path]


def test_two_fresh_caches_and_no_cache_share_it(tmp_path: Path) -> None:
    stores = [CacheStore(tmp_path / name) for name in ("a.sqlite", "b.sqlite")]
    assert stores[0].secret == stores[1].secret == ClientStack(ModelTable()).secret


def test_a_cache_keeps_the_secret_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = CacheStore(tmp_path / "a.sqlite").secret
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    assert CacheStore(tmp_path / "a.sqlite").secret == began != quoting_secret()


def test_where_it_cannot_be_kept_each_process_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert quoting_secret() != quoting_secret()


def test_a_user_without_a_home_gets_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert len(quoting_secret()) == 32


def test_a_damaged_secret_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    quoting_secret()
    (tmp_path / "archon-engine" / "quoting-secret").write_bytes(b"short")
    assert len(quoting_secret()) == 32
