"""Keys: shown once, kept as a hash, refused when revoked."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from archon.errors import ConfigError
from archon.proxy.keys import KeyStore, matching, open_store


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return open_store(str(tmp_path / "keys.db"))


def test_a_key_is_found_by_its_secret_with_its_limits(store: KeyStore) -> None:
    secret, record = store.create("ann", usd_per_day=2_500_000, tokens_per_day=9, requests_per_minute=60)
    found = store.find(secret)
    assert found == record
    assert (record.usd_per_day, record.tokens_per_day, record.requests_per_minute) == (2_500_000, 9, 60)


def test_no_file_of_the_store_holds_a_secret(store: KeyStore, tmp_path: Path) -> None:
    secret, record = store.create("ann")
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert record.id.encode() in kept
    assert secret.encode() not in kept
    assert secret.removeprefix("sk-archon-").encode() not in kept
    assert secret not in repr(record)


def test_a_secret_has_256_random_bits(store: KeyStore) -> None:
    secrets = {store.create("ann")[0] for _ in range(20)}
    assert len(secrets) == 20
    assert {len(secret) for secret in secrets} == {len("sk-archon-") + 43}  # 32 bytes in base64 without padding


def test_the_store_is_its_owners_alone(store: KeyStore, tmp_path: Path) -> None:
    store.create("ann")
    assert (tmp_path / "keys.db").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "wrong", ["", "sk-archon-", "sk-archon-" + "x" * 43, "sk-other", "sk-archon-\udcff", "é" * 300]
)
def test_what_is_no_key_finds_nothing(store: KeyStore, wrong: str) -> None:
    store.create("ann")
    assert store.find(wrong) is None


def test_a_revoked_key_is_refused_and_listed(store: KeyStore) -> None:
    secret, record = store.create("ann")
    other, _ = store.create("ben")
    revoked = store.revoke(record.id)
    assert revoked.revoked is not None
    assert store.find(secret) is None
    assert store.find(other) is not None
    assert [each.name for each in store.list()] == ["ann", "ben"]
    assert store.revoke(record.id).revoked == revoked.revoked


def test_revoking_what_is_not_there_says_how_to_find_it(store: KeyStore) -> None:
    with pytest.raises(ConfigError, match="archon keys list"):
        store.revoke("key_nope")


@pytest.mark.parametrize(
    ("name", "limits"),
    [("", {}), ("x" * 101, {}), ("ann", {"usd_per_day": -1}), ("ann", {"requests_per_minute": 0})],
)
def test_a_key_that_makes_no_sense_is_not_made(store: KeyStore, name: str, limits: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="key:"):
        store.create(name, **limits)
    assert list(store.list()) == []


def test_a_hash_with_the_same_beginning_is_not_enough(store: KeyStore) -> None:
    secret, record = store.create("ann")
    whole = hashlib.sha256(secret.encode()).hexdigest()
    assert store.in_force() == {whole[:16]: (whole, record)}
    assert matching(secret, {whole[:16]: (whole[:16] + "0" * 48, record)}) is None


def test_a_store_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mysql"):
        open_store("mysql://host/db")
    (tmp_path / "no.db").write_text("this is no database, it only is long enough to be looked at as one" * 20)
    with pytest.raises(ConfigError, match="cannot be opened"):
        open_store(str(tmp_path / "no.db"))
