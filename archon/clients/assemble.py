"""Puts the deltas of a streamed answer together, as OpenAI's chat API defines them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from archon.clients.wire import read_logprobs, read_usage
from archon.errors import ClientError
from archon.types import Chunk, Completion, Message, Price, TokenLogprob


class Assembly:
    """A streamed answer so far.

    Args:
        where: model and host, for errors.

    Attributes:
        id: of the completion.
        finish_reason: None until the upstream says why it ended.
        usage: the usage object, where one came.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self.id = ""
        self.finish_reason: str | None = None
        self.usage: Mapping[str, Any] | None = None
        self._role = "assistant"
        self._text: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self._extra: dict[str, Any] = {}
        self._logprobs: list[TokenLogprob] | None = None

    def add(self, event: Mapping[str, Any]) -> Chunk | None:
        """Takes one event in; what of it a reader should see, None where that is nothing. Raises ClientError where it
        is no chunk of a chat completion."""
        with self._readable():
            return self._added(event)

    def _added(self, event: Mapping[str, Any]) -> Chunk | None:
        self.id = event.get("id") or self.id
        self.usage = event.get("usage") or self.usage
        for choice in event.get("choices") or ():
            if not choice.get("index"):
                return self._choice(choice)
        return None

    def message(self) -> Message:
        """The whole message."""
        text = "".join(self._text)
        calls = tuple(self._calls[index] for index in sorted(self._calls))
        return Message(self._role, text if text or not calls else None, tool_calls=calls, extra=self._extra)

    def completion(self, model: str, price: Price | None, seconds: float) -> Completion:
        """The whole answer. Raises ClientError where its usage is not of the form."""
        logprobs = None if self._logprobs is None else tuple(self._logprobs)
        with self._readable():
            usage = read_usage(self.usage, price, seconds)
        return Completion(self.message(), model, usage, self.finish_reason or "stop", logprobs, id=self.id)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Upstreams may send anything: what is not of the form is their failure, told in one line."""
        try:
            yield
        except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise ClientError(
                f"{self._where}: what came is not a stream of a chat completion ({type(error).__name__})"
            ) from error

    def _choice(self, choice: Mapping[str, Any]) -> Chunk | None:
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        found = read_logprobs(choice.get("logprobs"))
        if found is not None:
            self._logprobs = [*(self._logprobs or ()), *found]
        delta = choice.get("delta") or {}
        text = delta.get("content") or ""
        if not isinstance(text, str):
            raise TypeError("content is not a text")
        self._text.append(text)
        self._role = delta.get("role") or self._role
        more = {key: value for key, value in delta.items() if key not in ("content", "role") and value}
        for call in more.get("tool_calls", ()):
            self._call(call)
        for key, value in more.items():
            if key != "tool_calls":
                self._extra[key] = _joined(self._extra.get(key), value)
        return Chunk(text, more, logprobs=found or ()) if text or more or found else None

    def _call(self, delta: Mapping[str, Any]) -> None:
        index = delta.get("index")
        call = self._calls.setdefault(len(self._calls) if index is None else int(index), {})
        for key, value in delta.items():
            if key == "function":
                known = call.setdefault("function", {"name": "", "arguments": ""})
                for part, piece in value.items():
                    known[part] = _joined(known.get(part), piece)
            elif key != "index" and value:
                call[key] = value


def _joined(known: Any, piece: Any) -> Any:
    """Texts and lists grow, everything else is replaced."""
    if known is None or piece is None:
        return known if piece is None else piece
    return known + piece if type(known) is type(piece) and isinstance(piece, (str, list)) else piece
