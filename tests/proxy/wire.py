"""A plain HTTP client for tests: what goes over the wire, nothing interpreted."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def error(self) -> Json:
        """The error object of OpenAI's envelope, which must be nothing but that."""
        found: Json = self.json
        assert set(found) == {"error"}
        assert set(found["error"]) == {"message", "type", "param", "code"}
        return dict(found["error"])


def ask(
    port: int,
    body: object,
    path: str = "/v1/chat/completions",
    headers: Mapping[str, str] | None = None,
    method: str = "POST",
) -> Answer:
    """One request, read to its end."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"content-type": "application/json", **(headers or {})}
    connection.request(method, path, data if method == "POST" else None, given)
    response = connection.getresponse()
    found = Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, response.read())
    connection.close()
    return found


class Stream:
    """A streamed answer, event by event; leaving it early closes the connection."""

    def __init__(self, port: int, body: object, path: str = "/v1/chat/completions") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._connection.request("POST", path, json.dumps(body).encode(), {"content-type": "application/json"})
        self._response = self._connection.getresponse()
        self.status = self._response.status

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        sock = self._connection.sock
        self._response.close()
        if sock is not None:
            sock.close()
        self._connection.close()

    def blocks(self) -> Iterator[str]:
        """Events and comments, as they come."""
        lines: list[str] = []
        while line := self._response.readline():
            text = line.decode().rstrip("\n")
            if text:
                lines.append(text)
            elif lines:
                yield "\n".join(lines)
                lines = []
        assert not lines, "the stream ends between events"

    def events(self) -> list[Any]:
        """The data of all events to the end; `[DONE]` as text."""
        found = [block.partition("data: ")[2] for block in self.blocks() if not block.startswith(":")]
        return [data if data == "[DONE]" else json.loads(data) for data in found]
