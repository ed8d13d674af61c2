"""Text to tokens and back for a model folder. What a user writes is never read for special tokens.

Zoo folders are encoded by `archon.zoo.encoding`; others by their chat template, or as "role: text" lines where they
have none. A template works on text, so its special tokens would be spelt out next to the user's words: each message's
words go through the template as a stand-in of private-use characters, and only the template's own parts are parsed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal, Protocol

from archon.clients.local_errors import first_line
from archon.errors import ConfigError, RequestError
from archon.types import Message

Encoding = Literal["auto", "zoo", "chat", "plain"]


class Codec(Protocol):
    """Turns messages into prompt tokens, continuations into tokens, tokens into text."""

    def prompt(self, messages: Sequence[Message]) -> list[int]: ...

    def plain(self, text: str) -> list[int]: ...

    def text(self, tokens: Sequence[int]) -> str: ...


class ZooCodec:
    """The zoo's structured prompts."""

    def __init__(self, folder: Path) -> None:
        from archon.zoo.vocabulary import Vocabulary

        self._vocabulary = Vocabulary.load(folder)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        from archon.zoo.encoding import encode_messages

        try:
            return encode_messages(self._vocabulary, [message.to_dict() for message in messages])
        except ValueError as error:
            raise RequestError(str(error), billed=False) from None

    def plain(self, text: str) -> list[int]:
        return self._vocabulary.plain(text)

    def text(self, tokens: Sequence[int]) -> str:
        return self._vocabulary.decode(tokens)


class FolderCodec:
    """Any other folder: its tokenizer, and its chat template where it has one and `chat` is wanted."""

    def __init__(self, folder: Path, *, chat: bool) -> None:
        from transformers import AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        self._chat = chat and bool(self._tokenizer.chat_template)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        for message in messages:
            _check_text(message)
        if self._chat:
            return self._templated(messages)
        lines = [f"{message.role}: {message.text}" for message in messages]
        begin = getattr(self._tokenizer, "bos_token_id", None)
        return [*([] if begin is None else [begin]), *self.plain("\n".join([*lines, "assistant:"]))]

    def plain(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return ids

    def text(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def _templated(self, messages: Sequence[Message]) -> list[int]:
        # An unguessable stand-in: no text can contain another message's.
        mark = token_hex(8)
        stand_ins = {f"{mark}x{index}x": message.text for index, message in enumerate(messages)}
        shown = [{"role": m.role, "content": name} for m, name in zip(messages, stand_ins, strict=True)]
        try:
            rendered = self._tokenizer.apply_chat_template(shown, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # a template is a program of the folder's and raises what it likes
            raise RequestError(f"chat template refuses this conversation: {first_line(error)}", billed=False) from None
        pieces = re.split(f"({mark}x[0-9]+x)", str(rendered))
        return [token for piece in pieces if piece for token in self._piece(piece, stand_ins)]

    def _piece(self, piece: str, stand_ins: dict[str, str]) -> list[int]:
        if piece in stand_ins:
            return self.plain(stand_ins[piece])
        ids: list[int] = self._tokenizer.encode(piece, add_special_tokens=False)
        return ids


def load_codec(folder: Path, encoding: Encoding, *, zoo: bool) -> Codec:
    """The codec of a folder. Raises ConfigError when its tokenizer is missing or corrupt."""
    try:
        if encoding == "zoo" or (encoding == "auto" and zoo):
            return ZooCodec(folder)
        return FolderCodec(folder, chat=encoding != "plain")
    except Exception as error:  # tokenizers raises bare Exception
        raise ConfigError(
            f"model folder {str(folder)!r}: tokenizer cannot be loaded ({first_line(error)}); fetch the folder anew"
        ) from None


def _check_text(message: Message) -> None:
    parts = message.content if isinstance(message.content, tuple) else ()
    other = [part.get("type") for part in parts if part.get("type") != "text"]
    if other or message.tool_calls:
        what = f"a part of type {other[0]!r}" if other else "tool calls"
        raise RequestError(f"a local model reads text only, and a {message.role} message has {what}", billed=False)
