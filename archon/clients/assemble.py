"""Puts the deltas of a streamed answer together, as OpenAI's chat API defines them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archon.clients.wire import read_logprobs
from archon.types import Chunk, Completion, Message, TokenLogprob, Usage


class Assembly:
    """A streamed answer so far.

    Attributes:
        id: of the completion.
        finish_reason: None until the upstream says why it ended.
        usage: the usage object, where one came.
    """

    def __init__(self) -> None:
        self.id = ""
        self.finish_reason: str | None = None
        self.usage: Mapping[str, Any] | None = None
        self._role = "assistant"
        self._text: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self._extra: dict[str, Any] = {}
        self._logprobs: list[TokenLogprob] | None = None

    def add(self, event: Mapping[str, Any]) -> Chunk | None:
        """Takes one event in; what of it a reader should see, None where that is nothing."""
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

    def completion(self, model: str, usage: Usage) -> Completion:
        """The whole answer."""
        logprobs = None if self._logprobs is None else tuple(self._logprobs)
        return Completion(self.message(), model, usage, self.finish_reason or "stop", logprobs, id=self.id)

    def _choice(self, choice: Mapping[str, Any]) -> Chunk | None:
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        found = read_logprobs(choice.get("logprobs"))
        if found is not None:
            self._logprobs = [*(self._logprobs or ()), *found]
        delta = choice.get("delta") or {}
        text = delta.get("content") or ""
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
