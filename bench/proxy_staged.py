"""What the proxy's benches share: a staged upstream in a process of its own, and a client that speaks plain HTTP.

The upstream answers chat completions after a set time, whole or streamed, names the question's ticket in the answer,
and keeps its own count of what it billed: 1 micro-dollar a prompt token, 2 a completion token (`PRICE`). Some of its
calls fail or are slow, where that is asked for.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

PRICE = {"prompt": 1, "completion": 2}
"""US dollars per million tokens: whole micro-dollars for any number of tokens."""
PIECES = 8
"""Chunks of a streamed answer."""
FAULTS = {"500": 0.04, "429": 0.03, "503": 0.03, "cut": 0.02, "silent": 0.01, "slow": 0.07}
"""Share of the calls that fail or are slow: refused with a status, cut off in the middle, never answered, late."""
SLOW = 1.0
"""Seconds that a slow call takes longer."""
_TICKET = re.compile(rb"ticket-(\d+)")


def question(ticket: int) -> str:
    """A question that no other request asks."""
    return f"(ticket-{ticket}) Ann has 12 pens and buys 3 boxes of 14 pens. How many pens does Ann have now? " * 3


def answer(ticket: int) -> str:
    """What the upstream says to it."""
    return f"Three boxes of 14 pens make 42 pens, and 12 more make 54. This is the answer to ticket-{ticket}: 54 pens."


def tokens(ticket: int) -> tuple[int, int]:
    """Prompt and completion tokens that the upstream reports."""
    return 120 + ticket % 50, 30 + ticket % 17


@dataclass
class Book:
    """The upstream's own count."""

    delivered: dict[int, int] = field(default_factory=dict)
    """Micro-dollars of whole answers, by ticket."""
    lost: dict[int, int] = field(default_factory=dict)
    """Calls that were worked on and whose answer never arrived whole, by ticket."""
    faults: dict[int, list[str]] = field(default_factory=dict)
    """What went wrong, by ticket."""
    calls: int = 0


@dataclass
class Stage:
    """How the upstream behaves.

    Attributes:
        latency: seconds to the whole answer, or to the last chunk.
        first: seconds to the first chunk.
        faulty: whether calls fail or are slow by `FAULTS`.
    """

    latency: float = 0.1
    first: float = 0.02
    faulty: bool = False
    book: Book = field(default_factory=Book)
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def fault(self) -> str:
        """What goes wrong with the next call; "" = nothing."""
        if not self.faulty:
            return ""
        return self.rng.choices(["", *FAULTS], [1 - sum(FAULTS.values()), *FAULTS.values()])[0]


class Requests(asyncio.Protocol):
    """One connection of an upstream: cuts what comes into requests and hands them to `asked`, one after another."""

    def __init__(self) -> None:
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._seen += data
        while (end := self._seen.find(b"\r\n\r\n")) >= 0:
            head = self._seen[:end].lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0]) if b"content-length:" in head else 0
            if len(self._seen) < end + 4 + length:
                return
            body, self._seen = self._seen[end + 4 : end + 4 + length], self._seen[end + 4 + length :]
            self.asked(head, body)

    def asked(self, head: bytes, body: bytes) -> None:
        """Answers one request: its head in lower case, and its body."""
        raise NotImplementedError


class Upstream(Requests):
    """The staged upstream; whatever is read from it by GET is its book."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    def asked(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get"):
            self._transport.write(_http(json.dumps(self._stage.book.__dict__).encode()))
        else:
            self._asked(body)

    def _asked(self, body: bytes) -> None:
        stage, book = self._stage, self._stage.book
        ticket = int(found[1]) if (found := _TICKET.search(body)) else 0
        book.calls += 1
        fault = stage.fault()
        if fault:
            book.faults.setdefault(ticket, []).append(fault)
        if fault == "silent":
            book.lost[ticket] = book.lost.get(ticket, 0) + 1
            return
        later = asyncio.get_running_loop().call_later
        late = stage.latency + (SLOW if fault == "slow" else 0.0)
        if fault.isdigit():
            later(stage.first, self._transport.write, _http(b'{"error":{"message":"staged"}}', fault.encode()))
        elif b'"stream":true' in body:
            self._stream(ticket, late, fault == "cut")
        else:
            text = "Both are right.\nRANKING: 2 > 1 > 3 > 4 > 5" if b"RANKING:" in body else answer(ticket)
            later(late, self._whole, ticket, text, fault == "cut")

    def _whole(self, ticket: int, text: str, cut: bool) -> None:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        sent = _http(json.dumps({"id": "c", "choices": [choice], "usage": _usage(ticket)}).encode())
        self._end(ticket, sent[: len(sent) - 40] if cut else sent, cut)

    def _stream(self, ticket: int, late: float, cut: bool) -> None:
        later, text, first = asyncio.get_running_loop().call_later, answer(ticket), self._stage.first
        step = -(-len(text) // PIECES)
        kind = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        for number in range(PIECES):
            piece = _event({"choices": [{"index": 0, "delta": {"content": text[number * step : (number + 1) * step]}}]})
            at = first + (late - first) * number / PIECES
            later(at, self._transport.write, piece if number else kind + piece)
        last = _event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        bill = _event({"choices": [], "usage": _usage(ticket)}) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
        later(late, self._end, ticket, b"" if cut else last + bill, cut)

    def _end(self, ticket: int, data: bytes, cut: bool) -> None:
        book = self._stage.book
        gone = self._transport.is_closing()
        self._transport.write(data)
        if cut:
            self._transport.close()
        if cut or gone:
            book.lost[ticket] = book.lost.get(ticket, 0) + 1
        else:
            prompt, completion = tokens(ticket)
            bill = prompt * PRICE["prompt"] + completion * PRICE["completion"]
            book.delivered[ticket] = book.delivered.get(ticket, 0) + bill


def _usage(ticket: int) -> dict[str, int]:
    prompt, completion = tokens(ticket)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _http(body: bytes, status: bytes = b"200") -> bytes:
    head = b"HTTP/1.1 %s Staged\r\nContent-Type: application/json\r\nRetry-After: 0\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


def _event(body: Mapping[str, Any]) -> bytes:
    return _chunk(b"data: " + json.dumps({"id": "c", **body}, separators=(",", ":")).encode() + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def serve(port: int, stage: Stage) -> None:
    """Serves until killed."""
    import uvloop

    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: Upstream(stage), "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(forever())


def counted(port: int) -> Book:
    """The count of the upstream at this port."""
    raw = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{port}/count", timeout=30).read())
    by_ticket = ("delivered", "lost", "faults")
    return Book(**{name: {int(k): v for k, v in raw[name].items()} for name in by_ticket}, calls=raw["calls"])


@dataclass
class Reply:
    """What came back to one request."""

    status: int
    body: bytes
    first: float = 0.0
    """Seconds to the first piece that holds a token, where it was streamed."""


class Connection:
    """One kept connection to the proxy."""

    def __init__(self, port: int, key: str) -> None:
        self._port, self._key = port, key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, ticket: int, model: str, *, stream: bool = False, leave: bool = False) -> Reply:
        """One request and its whole answer; with `leave`, gone after the first token."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        reader, writer = await self._opened()
        writer.write(self._request(ticket, model, stream))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        reply = Reply(int(head[9:12]), b"")
        if b"content-length:" in head:
            reply.body = await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        while b"content-length:" not in head and (size := int(await reader.readline(), 16)):
            reply.body += (await reader.readexactly(size + 2))[:-2]
            if not reply.first and re.search(rb'"content":"[^"]', reply.body):
                reply.first = loop.time() - began
                if leave:
                    self.close()
                    return reply
        if stream and b"content-length:" not in head:
            await reader.readexactly(2)
        if b"connection: close" in head:
            self.close()
        return reply

    def close(self) -> None:
        """Gone at once; the next request opens a new one."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and self._streams[0].at_eof():
            self.close()  # it was idle for so long that the server has closed it
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        return self._streams

    def _request(self, ticket: int, model: str, stream: bool) -> bytes:
        asked = {"model": model, "max_tokens": 200, "messages": [{"role": "user", "content": question(ticket)}]}
        body = json.dumps({**asked, "stream": True} if stream else asked, separators=(",", ":")).encode()
        return (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Type: application/json\r\n"
            f"x-request-id: ticket-{ticket}\r\nAuthorization: Bearer {self._key}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
