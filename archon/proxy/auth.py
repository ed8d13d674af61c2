"""Who is calling: a bearer key, or everybody on a service that is open and on loopback.

    scope["archon.key"] = KeyRecord | None

An open service answers no request that names it by a public host name: a page elsewhere could otherwise point its own
name at this machine and read the answers (DNS rebinding), or post here from a visitor's browser.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from archon.errors import ArchonError, ConfigError
from archon.proxy.asgi import App, Receive, Scope, Send, header, refuse
from archon.proxy.keys import PREFIX, KeyRecord, KeyStore, Known, matching

PUBLIC = frozenset({"/health", "/ready", "/docs", "/docs/oauth2-redirect", "/openapi.json", "/ui"})
"""Paths that anybody may read: they hold nothing of a user's."""
PUBLIC_FOLDER = "/ui/static/"
FRESH = 2.0
"""Seconds that a look at the store is good for; a revoked key is refused after them at the latest."""
STALE = 60.0
"""Seconds that keys go on being known while the store cannot be read."""

logger = logging.getLogger("archon.proxy.auth")


class Keyring:
    """The keys in force, held in memory and looked up again every `FRESH` seconds by one thread, however many requests
    come, with right keys or wrong ones. While one looks, the others go on with what was known."""

    def __init__(self, store: KeyStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._known: Known = {}
        self._read_at = self._tried_at = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, secret: str) -> KeyRecord | None:
        """The key in force that a secret belongs to. Raises StoreAwayError."""
        return matching(secret, await self._current())

    async def empty(self) -> bool:
        """Whether no key is in force. Raises StoreAwayError."""
        return not await self._current()

    async def _current(self) -> Known:
        now = self._clock()
        known = now - self._read_at <= STALE
        if now - self._tried_at > FRESH and not (known and self._lock.locked()):
            await self._refresh()
            known = self._clock() - self._read_at <= STALE
        if not known:
            raise StoreAwayError("the key store cannot be read")
        return self._known

    async def _refresh(self) -> None:
        async with self._lock:
            if self._clock() - self._tried_at <= FRESH:
                return
            try:
                self._known = await asyncio.to_thread(self._store.in_force)
                self._read_at = self._clock()
            except Exception as error:  # whatever a store raises: keys go on being known for a while
                logger.error("the key store cannot be read: %s", type(error).__name__)
            finally:
                self._tried_at = self._clock()


class StoreAwayError(ArchonError):
    """The key store has not been readable for too long."""


class KeyMiddleware:
    """Lets known keys through, with their record in the scope. 401 for all others; an open service asks for none.

    Args:
        open_to_all: no key is asked for while the store holds none (`opening` decides it). One of ours that is sent all
            the same must be a known one.
    """

    def __init__(
        self, app: App, store: KeyStore, open_to_all: bool = False, *, public: frozenset[str] = PUBLIC
    ) -> None:
        self._app, self._open, self._public = app, open_to_all, public
        self._ring = Keyring(store)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["archon.key"] = None
        if self._open and not _at_home(scope):
            await _forbid(send)
        elif scope["path"] in self._public or scope["path"].startswith(PUBLIC_FOLDER):
            await self._app(scope, receive, send)
        else:
            await self._checked(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        secret = bearer(scope)
        try:
            scope["archon.key"] = key = await self._ring.find(secret) if secret else None
            is_open = self._open and await self._ring.empty()
        except StoreAwayError as error:
            await refuse(send, 503, str(error), kind="server_error", headers={"retry-after": "5"})
            return
        if key is not None or (is_open and not (secret or "").startswith(PREFIX)):
            await self._app(scope, receive, send)
        elif secret is None:
            await _unauthorized(send, "no API key: send it as 'Authorization: Bearer KEY'")
        else:
            await _unauthorized(send, "the API key is not known or was revoked")


def bearer(scope: Scope) -> str | None:
    """The credential that came with a request."""
    given = header(scope, b"authorization")
    if given is None:
        return None
    scheme, _, secret = given.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" and secret.strip() else None


def opening(host: str, store: KeyStore) -> bool:
    """Whether a service bound to `host` is open to all: on loopback, while the store holds no key.

    Raises:
        ConfigError: `host` can be reached from elsewhere and there is no key that would protect it.
    """
    if store.in_force():
        return False
    if not is_loopback(host):
        raise ConfigError(
            f"there is no API key, so this would serve {host} to everybody: "
            "make one with `archon keys create NAME`, or bind to 127.0.0.1"
        )
    return True


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own; a name that is not known to be is not."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _at_home(scope: Scope) -> bool:
    """Whether the caller names this machine as itself, and no page of another site is calling."""
    host = _hostname("//" + (header(scope, b"host") or "localhost"))
    origin = header(scope, b"origin")
    if host is None or _public_name(host):
        return False
    return origin is None or (page := _hostname(origin)) == host or is_loopback(page or "")


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _public_name(host: str) -> bool:
    """Whether a host is a name that public DNS could hold: one with a dot that is no address."""
    try:
        ipaddress.ip_address(host)
        return False
    except ValueError:
        return "." in host and not host.endswith(".localhost")


async def _unauthorized(send: Send, message: str) -> None:
    await refuse(send, 401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})


async def _forbid(send: Send) -> None:
    await refuse(
        send, 403, "without keys this service answers only callers that name it localhost; make a key to serve others",
        kind="permission_error", code="forbidden_host",
    )  # fmt: skip
