"""Who gets in, and what a refusal says."""

from __future__ import annotations

from pathlib import Path

import pytest

from archon.errors import ConfigError
from archon.proxy.auth import FRESH, STALE, KeyMiddleware, Keyring, StoreAwayError, bearer, is_loopback, opening
from archon.proxy.keys import KeyStore, Known, open_store
from tests.proxy.direct import Echo, request, scope


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return open_store(str(tmp_path / "keys.db"))


async def test_a_known_key_gets_in_and_is_named_in_the_scope(store: KeyStore) -> None:
    secret, record = store.create("ann")
    app = Echo()
    answer = await request(KeyMiddleware(app, store), headers={"Authorization": "Bearer " + secret})
    assert answer.status == 200
    assert app.scopes[0]["archon.key"] == record


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic abc"},
        {"Authorization": "Bearer sk-archon-nope"},
        {"Authorization": "Bearer \xff\xfe"},
        {"Authorization": "Bearer " + "x" * 10_000},
    ],
)
async def test_anything_else_is_401_in_the_envelope(store: KeyStore, headers: dict[str, str]) -> None:
    store.create("ann")
    app = Echo()
    answer = await request(KeyMiddleware(app, store), headers=headers)
    assert (answer.status, app.calls) == (401, 0)
    assert answer.error["code"] == "invalid_api_key"
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "nope" not in answer.body.decode()


async def test_health_and_the_empty_page_need_no_key_and_its_data_does(store: KeyStore) -> None:
    store.create("ann")
    app = KeyMiddleware(Echo(), store)
    public = ("/health", "/ready", "/docs", "/openapi.json", "/ui", "/ui/static/app.js")
    assert [(await request(app, path=path)).status for path in public] == [200] * len(public)
    closed = ("/v1/models", "/metrics", "/ui/api/traces", "/ui/api/models", "/ui/", "/health/", "/", "/UI")
    assert [(await request(app, path=path)).status for path in closed] == [401] * len(closed)


class Counting:
    """A store that counts its looks, and can be away."""

    def __init__(self, inner: KeyStore) -> None:
        self.inner, self.looks, self.away = inner, 0, False

    def in_force(self) -> Known:
        self.looks += 1
        if self.away:
            raise OSError("away")
        return self.inner.in_force()


async def test_keys_are_looked_up_once_in_a_while_however_many_requests_come(store: KeyStore) -> None:
    secret, _ = store.create("ann")
    counting, now = Counting(store), 0.0
    ring = Keyring(counting, clock=lambda: now)  # type: ignore[arg-type]
    for number in range(50):
        assert (await ring.find(secret)) is not None
        assert (await ring.find(f"sk-archon-{number}")) is None
    assert counting.looks == 1


async def test_a_revoked_key_is_refused_when_the_look_is_no_longer_fresh(store: KeyStore) -> None:
    secret, record = store.create("ann")
    now = 0.0
    ring = Keyring(store, clock=lambda: now)
    assert await ring.find(secret) == record
    store.revoke(record.id)
    now += FRESH + 0.01
    assert await ring.find(secret) is None


async def test_keys_go_on_being_known_for_a_while_when_the_store_is_away(store: KeyStore) -> None:
    secret, record = store.create("ann")
    counting, now = Counting(store), 0.0
    ring = Keyring(counting, clock=lambda: now)  # type: ignore[arg-type]
    await ring.find(secret)
    counting.away = True
    now += STALE - 1
    for _ in range(10):
        assert await ring.find(secret) == record
    assert counting.looks == 2, "a store that is away is not asked by every request"
    now += 2 + FRESH
    with pytest.raises(StoreAwayError):
        await ring.find(secret)
    counting.away = False
    now += FRESH + 0.01
    assert await ring.find(secret) == record


async def test_an_open_service_closes_when_the_first_key_is_made(store: KeyStore) -> None:
    now = 0.0
    app = KeyMiddleware(Echo(), store, open_to_all=True)
    app._ring = Keyring(store, clock=lambda: now)
    assert (await request(app)).status == 200
    secret, _ = store.create("ann")
    now += FRESH + 0.01
    assert (await request(app)).status == 401
    assert (await request(app, headers={"Authorization": "Bearer " + secret})).status == 200


async def test_a_key_of_ours_that_is_not_known_is_refused_even_where_all_is_open(store: KeyStore) -> None:
    app = KeyMiddleware(Echo(), store, open_to_all=True)
    assert (await request(app, headers={"Authorization": "Bearer sk-archon-revoked"})).status == 401


async def test_a_store_that_is_away_is_503_and_no_way_in(store: KeyStore) -> None:
    secret, _ = store.create("ann")
    counting = Counting(store)
    counting.away = True
    app = Echo()
    answer = await request(
        KeyMiddleware(app, counting),  # type: ignore[arg-type]
        headers={"Authorization": "Bearer " + secret},
    )
    assert (answer.status, app.calls) == (503, 0)
    assert answer.headers["retry-after"] == "5"


def test_without_keys_only_loopback_is_open(store: KeyStore) -> None:
    assert opening("127.0.0.1", store) is True
    with pytest.raises(ConfigError, match="archon keys create"):
        opening("0.0.0.0", store)
    store.create("ann")
    assert opening("0.0.0.0", store) is False
    assert opening("127.0.0.1", store) is False


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "a.localhost"])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", "localhost.example.org", ""])
def test_everything_else_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:8000"}, 200),
        ({"host": "localhost:8000", "origin": "http://localhost:8000"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "rebound.example.org:8000"}, 403),
        ({"host": "127.0.0.1:8000", "origin": "https://evil.example.org"}, 403),
        ({"host": "127.0.0.1:8000", "origin": "null"}, 403),
        ({"host": "127.0.0.1:8000", "origin": "http://203.0.113.5"}, 403),
        ({"host": "127.0.0.1:8000", "origin": "http://[2001:db8::1]:8000"}, 403),
        ({"host": "127.0.0.1:8000", "origin": "http://printer"}, 403),
        ({"host": "127.0.0.1:8000", "origin": "http://[::1"}, 403),
        ({"host": "[::1"}, 403),
        ({"host": "127.0.0.1:8000", "origin": "http://[::1]:3000"}, 200),
        ({"host": "box:8000", "origin": "http://box:8000"}, 200),
    ],
)
async def test_an_open_service_answers_no_page_of_another_site(
    store: KeyStore, headers: dict[str, str], status: int
) -> None:
    app = KeyMiddleware(Echo(), store, open_to_all=True)
    assert (await request(app, headers=headers)).status == status


async def test_an_open_service_ignores_the_placeholder_keys_that_clients_must_send(store: KeyStore) -> None:
    app = Echo()
    answer = await request(KeyMiddleware(app, store, open_to_all=True), headers={"Authorization": "Bearer none"})
    assert answer.status == 200
    assert app.scopes[0]["archon.key"] is None


def test_the_last_of_two_credentials_counts() -> None:
    asked = scope()
    asked["headers"] = [(b"authorization", b"Bearer one"), (b"authorization", b"bearer two ")]
    assert bearer(asked) == "two"
