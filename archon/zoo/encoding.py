"""How a conversation becomes the zoo's tokens: structure by special tokens, text never parsed for them.

A zoo prompt is a list of chat messages. The system message's content names the role; the user message's content is a
list of text parts: the question, then pairs of (label, text), the label one of `LABELS`. The encoder places one
special token for the role and one for each label; texts are encoded as plain text, so nothing a user or a model writes
can yield a role or a separator. A conversation without a role is encoded as `solve` of its last user message.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

ROLES = ("solve", "fuse", "rank", "compare", "critique", "verify", "verdict", "write_tests", "judge_tests")
LABELS = ("candidate", "critique", "reasoning", "test")
NUMBERED = ("candidate", "test")
PAD, EOS, ANSWER = "<|pad|>", "<|eos|>", "<|answer|>"
_RESERVED = 8  # places kept for roles and labels still to come, so that the vocabulary need not change for them


def role_token(role: str) -> str:
    return f"<|{role}|>"


def label_token(label: str) -> str:
    return f"<|part {label}|>"


SPECIAL_TOKENS = (
    PAD,
    EOS,
    ANSWER,
    *map(role_token, ROLES),
    *map(label_token, LABELS),
    *(f"<|reserved {i}|>" for i in range(_RESERVED)),
)


class TextEncoder(Protocol):
    """The two look-ups the encoder needs of a tokenizer."""

    def plain(self, text: str) -> list[int]:
        """Token ids of `text`, special tokens spelled out in it left as ordinary characters."""
        ...

    def special(self, token: str) -> int:
        """The id of a special token."""
        ...


def part_name(role: str, index: int) -> str:
    """What the `index`-th candidate or test (from 0) is called: 1, 2, 3 … and A, B in a pairwise comparison."""
    return "AB"[index] if role == "compare" and index < 2 else str(index + 1)


def encode(encoder: TextEncoder, role: str, parts: Sequence[str]) -> list[int]:
    """Prompt tokens of `role`: `parts` is the question, then label, text, label, text …"""
    if role not in ROLES or len(parts) % 2 == 0 or any(label not in LABELS for label in parts[1::2]):
        raise ValueError(f"zoo prompt: role {role!r} with labels {list(parts[1::2])}; roles {ROLES}, labels {LABELS}")
    ids = [encoder.special(role_token(role)), *encoder.plain(parts[0])]
    seen = dict.fromkeys(NUMBERED, 0)
    for label, text in zip(parts[1::2], parts[2::2], strict=True):
        ids.append(encoder.special(label_token(label)))
        if label in NUMBERED:
            ids += encoder.plain(part_name(role, seen[label]) + " : ")
            seen[label] += 1
        ids += encoder.plain(text)
    return [*ids, encoder.special(ANSWER)]


def structure(messages: Sequence[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """The role and the parts of a conversation; anything that is no zoo prompt is `solve` of its last user message."""
    users = [m for m in messages if m.get("role") == "user"]
    if not users:
        raise ValueError("zoo prompt: the conversation has no user message; add one that holds the question")
    named = [text for m in messages if m.get("role") == "system" for text in _texts(m) if text in ROLES]
    parts = _texts(users[-1])
    if named and isinstance(users[-1].get("content"), list):
        return named[-1], parts
    return "solve", [" ".join(parts)]


def encode_messages(encoder: TextEncoder, messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """Prompt tokens of a chat conversation, ready for generation."""
    role, parts = structure(messages)
    return encode(encoder, role, parts)


def to_messages(role: str, parts: Sequence[str]) -> list[dict[str, Any]]:
    """The chat messages that `structure` reads back as `role` and `parts`."""
    content = [{"type": "text", "text": part} for part in parts]
    return [{"role": "system", "content": role}, {"role": "user", "content": content}]


def _texts(message: Mapping[str, Any]) -> list[str]:
    content = message.get("content") or ""
    if isinstance(content, str):
        return [content]
    return [str(part.get("text", "")) for part in content if part.get("type") == "text"]
