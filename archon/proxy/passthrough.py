"""The short way of a plain model: the request's body goes to its endpoint, the answer's bytes come back as they are.

Of the request only what the model table says is set: the upstream's name for the model, defaults, and a bound on the
answer where the key has a budget. Of the answer only the usage is read, for the ledger.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import aiohttp

from archon.amounts import micro_usd
from archon.clients.defaults import TOKEN_BOUNDS
from archon.clients.openai import OpenAIClient
from archon.clients.stack import FORCED_MAX_TOKENS
from archon.clients.wire import read_usage
from archon.errors import ClientError
from archon.proxy.architectures import Served
from archon.proxy.ceiling import check_counts, worst_case
from archon.proxy.errors import ApiError, from_error, invalid
from archon.proxy.feasible import check_size
from archon.proxy.http import EVENT_STREAM, Call, Present, room
from archon.proxy.ledger import Hold
from archon.proxy.passed import Passing
from archon.proxy.relay import Relay
from archon.proxy.unmetered import FreeHold
from archon.types import Price, Usage

_UNREPORTED = Usage(calls=1, cost_usd=None)


async def forward(call: Call, served: Served, raw: dict[str, Any]) -> None:
    """Passes one chat completion through."""
    client, model = served.transport, served.plain
    assert client is not None
    assert model is not None
    services = call.services
    check_size(raw.get("messages"), raw.get("n"), services.settings)
    check_counts(raw, services.settings.max_n)
    price, key = call.catalogue.stack.price(model), call.key
    call.passing = Passing(raw.get("messages"), price is not None)
    if key is not None and key.usd_per_day is not None and price is None:
        raise ApiError(403, f"model {model!r}: its price is unknown, and this key has a budget in USD")
    bounded = key is not None and not (key.usd_per_day is None and key.tokens_per_day is None)
    prompt, answer = worst_case(call.body, raw, client, bounded)
    relay = Relay(asks_usage(raw)) if raw.get("stream") else None
    body = prepared(call.body, raw, client, bounded)
    micro = micro_usd(price.cost(prompt, answer)) if price else 0
    hold = await services.ledger.reserve(key.id if key else None, key, micro, prompt + answer, call.id)
    try:
        await _sent(call, client, body, relay, _Bill(hold, price, model))
    except ClientError as error:
        if error.billed is False:
            hold.release()
        raise
    except TimeoutError:
        seconds = min(client.spec.timeout, services.settings.deadline)
        raise ApiError(
            504, f"model {model!r}: no answer within {seconds:g} s", kind="timeout_error", retry=False
        ) from None
    finally:
        hold.settle_worst("the answer did not come to its end")


def prepared(body: bytes, raw: dict[str, Any], client: OpenAIClient, bounded: bool) -> bytes:
    """The body to send; the very bytes that came where nothing has to be set."""
    spec, options = client.spec, client.options
    changes: dict[str, Any] = {name: value for name, value in options.body.items() if name not in raw}
    if raw["model"] != spec.upstream:
        changes["model"] = spec.upstream
    limit = next((name for name in reversed(TOKEN_BOUNDS) if raw.get(name)), None)
    if limit is None and (spec.max_tokens or bounded):
        changes[options.max_tokens_field] = spec.max_tokens or FORCED_MAX_TOKENS
    if raw.get("stream") and options.include_usage and not asks_usage(raw):
        changes["stream_options"] = {**(raw.get("stream_options") or {}), "include_usage": True}
    renamed = limit == "max_tokens" and options.max_tokens_field != "max_tokens"
    if not changes and not renamed:
        return body
    merged = {**raw, **changes}
    if renamed:
        merged[options.max_tokens_field] = merged.pop("max_tokens")
    return json.dumps(merged, separators=(",", ":")).encode()


def asks_usage(raw: Mapping[str, Any]) -> bool:
    """Whether the client wants the usage of its stream. Raises ApiError where `stream_options` is no object."""
    options = raw.get("stream_options") or {}
    if not isinstance(options, dict):
        raise invalid("stream_options: it must be an object", "stream_options")
    return bool(options.get("include_usage"))


class _Bill:
    """What one passed-through call cost, told to the ledger and kept for headers and metrics."""

    def __init__(self, hold: Hold | FreeHold, price: Price | None, model: str) -> None:
        self._hold, self._price, self.model = hold, price, model
        self.room = room(hold)
        self.usage = _UNREPORTED
        self.micro_usd = 0

    def settle(self, reported: Mapping[str, Any] | None, seconds: float) -> None:
        """By the reported usage; without one the worst case stands."""
        if not isinstance(reported, dict):
            self.micro_usd = self._hold.micro_usd
            self._hold.settle_worst("the upstream reported no usage")
            return
        self.usage = read_usage(reported, self._price, seconds)
        cost = self.usage.cost_usd
        self.micro_usd = self._hold.micro_usd if cost is None else micro_usd(cost)
        self._hold.settle(self.micro_usd, self.usage.tokens)

    def release(self) -> None:
        """The call certainly cost nothing."""
        self._hold.release()

    @property
    def header(self) -> bytes:
        """The cost, US dollars."""
        cost = self.usage.cost_usd
        return b"unknown" if cost is None else f"{cost:.6f}".encode()


async def _sent(call: Call, client: OpenAIClient, body: bytes, relay: Relay | None, bill: _Bill) -> None:
    services = call.services
    limiter = call.catalogue.stack.limiter(bill.model)
    seconds = min(client.spec.timeout, services.settings.deadline)
    with Present(call.receive, seconds):
        async with limiter.slot() if limiter else nullcontext():
            sent = time.perf_counter()
            async with client.forward(body) as response:
                if response.status != 200:
                    raise await _refused(client, response, bill)
                if relay is not None and response.content_type == "text/event-stream":
                    await _streamed(call, client, response, bill, sent, relay)
                else:
                    await _whole(call, client, response, bill, sent)


async def _whole(call: Call, client: OpenAIClient, response: aiohttp.ClientResponse, bill: _Bill, sent: float) -> None:
    data = await client.read(response)
    call.waited = time.perf_counter() - sent
    bill.settle(_object(data, client).get("usage"), call.waited)
    call.services.observe_call(call, bill.model, bill.usage, bill.micro_usd)
    facts = [
        (b"x-archon-cost-usd", bill.header),
        (b"x-archon-calls", b"1"),
        (b"x-archon-cache-hits", b"0"),
        (b"x-archon-overhead-ms", call.overhead_ms.encode()),
        *bill.room,
    ]
    await call.answer(data, facts)


def _object(data: bytes, client: OpenAIClient) -> dict[str, Any]:
    """An answer's JSON object. Raises ClientError where it is none, or holds an error in place of an answer."""
    try:
        found = json.loads(data.decode("utf-8"))
    except ValueError:
        found = None
    if isinstance(found, dict) and not found.get("error"):
        return found
    return client.checked(data)


async def _streamed(
    call: Call, client: OpenAIClient, response: aiohttp.ClientResponse, bill: _Bill, sent: float, relay: Relay
) -> None:
    await call.start(200, [*EVENT_STREAM, *bill.room])
    async for piece in response.content.iter_any():
        if passed := relay.feed(piece):
            if call.first_token():
                call.waited = time.perf_counter() - sent
            await call.send({"type": "http.response.body", "body": passed, "more_body": True})
    if rest := relay.end():
        await call.send({"type": "http.response.body", "body": rest, "more_body": True})
    if not relay.done:
        raise client.broken("the stream broke off before the answer's end")
    bill.settle(relay.usage, time.perf_counter() - sent)
    call.services.observe_call(call, bill.model, bill.usage, bill.micro_usd)
    await call.send({"type": "http.response.body", "body": b""})


async def _refused(client: OpenAIClient, response: aiohttp.ClientResponse, bill: _Bill) -> ApiError:
    """The upstream's own refusal: its status, its words without secrets, its type, code and param where it has them."""
    said = await response.content.read(65536)
    failure = client.failure(response.status, response.headers, said)
    if failure.billed is False:
        bill.release()
    found = from_error(failure)
    try:
        told = json.loads(said).get("error")
    except (ValueError, AttributeError):
        return found
    if isinstance(told, dict) and found.status == response.status < 500:
        found.code = _text(told.get("code")) or found.code
        found.param = _text(told.get("param"))
        found.type = _text(told.get("type")) or found.type
    return found


def _text(value: object) -> str | None:
    return None if value is None else str(value)[:100]
