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

from archon.amounts import micro_usd
from archon.clients.openai import OpenAIClient
from archon.clients.stack import FORCED_MAX_TOKENS
from archon.errors import ClientError
from archon.proxy.architectures import Served
from archon.proxy.bill import Bill
from archon.proxy.ceiling import check_counts, worst_case
from archon.proxy.delivery import refusal, streamed, tell, whole
from archon.proxy.errors import ApiError, invalid
from archon.proxy.feasible import check_size
from archon.proxy.http import Call, Present
from archon.proxy.passed import Passing
from archon.proxy.relay import Relay

_LIMITS = ("max_completion_tokens", "max_tokens")


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
    relay = Relay(asks_usage(raw), raw.get("n") or 1) if raw.get("stream") else None
    body = prepared(call.body, raw, client, bounded)
    micro = micro_usd(price.cost(prompt, answer)) if price else 0
    hold = await services.ledger.reserve(key.id if key else None, key, micro, prompt + answer, call.id)
    bill = Bill(hold, price, model)
    try:
        await _sent(call, client, body, relay, bill)
    except ClientError as error:
        call.spent = error.billed is not False
        if not call.spent:
            bill.release()
        raise
    except TimeoutError:
        message = f"model {model!r}: no answer within {_seconds(call, client):g} s"
        raise ApiError(504, message, kind="timeout_error", retry=False) from None
    finally:
        bill.close()
        tell(call, bill)


def prepared(body: bytes, raw: dict[str, Any], client: OpenAIClient, bounded: bool) -> bytes:
    """The body to send; the very bytes that came where nothing has to be set."""
    spec, options = client.spec, client.options
    changes: dict[str, Any] = {name: value for name, value in options.body.items() if name not in raw}
    if raw["model"] != spec.upstream:
        changes["model"] = spec.upstream
    limit = _LIMITS[0] if raw.get(_LIMITS[0]) else _LIMITS[1] if raw.get(_LIMITS[1]) else None
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


async def _sent(call: Call, client: OpenAIClient, body: bytes, relay: Relay | None, bill: Bill) -> None:
    limiter = call.catalogue.stack.limiter(bill.model)
    with Present(call.receive, _seconds(call, client)):
        async with limiter.slot() if limiter else nullcontext():
            bill.sent = True
            sent = time.perf_counter()
            async with client.forward(body) as response:
                if response.status != 200:
                    raise await refusal(client, response, bill)
                if relay is not None and response.content_type == "text/event-stream":
                    await streamed(call, client, response, bill, sent, relay)
                else:
                    await whole(call, client, response, bill, sent)


def _seconds(call: Call, client: OpenAIClient) -> float:
    return min(client.spec.timeout, call.services.settings.deadline)
