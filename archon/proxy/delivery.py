"""The upstream's own answer on its way to the client: whole, streamed, or refused. Nothing of it but the usage is read.

Metrics and log are told before the answer's last byte, so that who has the answer finds it counted.
"""

from __future__ import annotations

import json
import time
from typing import Any

import aiohttp

from archon.clients.failures import retry_after
from archon.clients.openai import OpenAIClient
from archon.proxy.bill import Bill
from archon.proxy.errors import ApiError, from_error
from archon.proxy.http import EVENT_STREAM, Call
from archon.proxy.relay import Relay


async def whole(call: Call, client: OpenAIClient, response: aiohttp.ClientResponse, bill: Bill, sent: float) -> None:
    """An answer in one piece. Raises ClientError where it is none."""
    data = await client.read(response)
    call.waited = time.perf_counter() - sent
    bill.settle(_object(data, client).get("usage"), call.waited)
    tell(call, bill, whole=True)
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


async def streamed(
    call: Call, client: OpenAIClient, response: aiohttp.ClientResponse, bill: Bill, sent: float, relay: Relay
) -> None:
    """An answer piece by piece; however it ends, it is charged by its usage where that has come."""
    await call.start(200, [*EVENT_STREAM, *bill.room])
    try:
        await _relayed(call, response, relay, sent)
    finally:
        if relay.bill is not None:
            bill.settle(relay.bill, time.perf_counter() - sent)
    if relay.failed:
        call.say(error_code="upstream_error")
    elif relay.done:
        bill.settle(None, 0.0)
    else:
        raise client.broken("the stream broke off before the answer's end")
    bill.close()
    tell(call, bill, whole=not relay.failed)
    await call.send({"type": "http.response.body", "body": b""})


async def _relayed(call: Call, response: aiohttp.ClientResponse, relay: Relay, sent: float) -> None:
    try:
        async for piece in response.content.iter_any():
            if passed := relay.feed(piece):
                if call.first_token():
                    call.waited = time.perf_counter() - sent
                await call.send({"type": "http.response.body", "body": passed, "more_body": True})
    except (aiohttp.ClientError, ConnectionError):
        if not (relay.done or relay.failed):
            raise
    if rest := relay.end():
        await call.send({"type": "http.response.body", "body": rest, "more_body": True})


async def refusal(client: OpenAIClient, response: aiohttp.ClientResponse, bill: Bill) -> ApiError:
    """The upstream's own refusal: its status, its words without secrets, its type, code and param where it has them."""
    said = await response.content.read(65536)
    failure = client.failure(response.status, response.headers, said)
    if failure.billed is False:
        bill.release()
    found = from_error(failure, spent=failure.billed is not False)
    if response.status >= 400 and found.status != response.status:
        found = ApiError(response.status, str(found), code=found.code, retry=found.retry)
    found.retry_after = retry_after(response.headers)
    try:
        told = json.loads(said).get("error")
    except (ValueError, AttributeError, RecursionError):
        return found
    if isinstance(told, dict) and found.status == response.status:
        found.code = _text(told.get("code")) or found.code
        found.param = _text(told.get("param"))
        if response.status < 500:
            found.type = _text(told.get("type")) or found.type
    return found


def _text(value: object) -> str | None:
    return None if value is None else str(value)[:100]


def tell(call: Call, bill: Bill, *, whole: bool = False) -> None:
    """Tells metrics and log of a call, once: what it took where that is known, else what was charged for it."""
    if bill.told or not bill.sent:
        return
    bill.told = True
    if whole or bill.known:
        call.services.observe_call(call, bill.model, bill.usage, bill.micro_usd)
    else:
        call.services.metrics.calls(bill.model, "error")
        call.services.metrics.spend(bill.model, bill.micro_usd)
        call.say(calls=1, micro_usd=bill.micro_usd)
    if bill.flagged:
        call.say(flagged=True)
