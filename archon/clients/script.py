"""What a fake model answers: from a list, from a mapping on the prompt's text, or from a function.

Every choice depends on the request's name alone (model, canonical request, sample index), never on who came first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archon.errors import ConfigError
from archon.types import Message, Request, assistant, stable_hash

Answer = str | Mapping[str, Any] | Message
"""A text, a message in wire form, or a message."""

Answers = Sequence[Answer] | Mapping[str, Any] | Callable[[Request], Answer] | None
"""See `FakeClient`."""


def scripted(answers: Answers, where: str) -> Callable[[Request], Message]:
    """The function from request to answer.

    Raises:
        ConfigError: an empty list or mapping, or an answer that is neither text nor message.
    """
    if answers is None:
        return _echo
    if callable(answers):
        return lambda request: _message(answers(request), where)
    if isinstance(answers, Mapping):
        if not answers:
            raise ConfigError(f"{where}: answers: an empty mapping answers nothing")
        return lambda request: _message(_matched(answers, request), where)
    if isinstance(answers, str) or not answers:
        raise ConfigError(
            f"{where}: answers: give a list, a mapping or a dotted path 'module:function', got {answers!r}"
        )
    return lambda request: _message(answers[request.sample % len(answers)], where)


def prompt_text(messages: Sequence[Message]) -> str:
    """The texts of a conversation, joined by newlines."""
    return "\n".join(message.text for message in messages)


def _echo(request: Request) -> Message:
    return assistant(f"answer {stable_hash([request.canonical(), request.sample], 8)}")


def _matched(answers: Mapping[str, Any], request: Request) -> Any:
    text = prompt_text(request.messages)
    for part, answer in answers.items():
        if part in text:
            return answer[request.sample % len(answer)] if isinstance(answer, (list, tuple)) else answer
    return ""


def _message(answer: object, where: str) -> Message:
    if isinstance(answer, Message):
        return answer
    if isinstance(answer, str):
        return assistant(answer)
    if isinstance(answer, Mapping):
        return Message.from_dict({"role": "assistant", **answer})
    raise ConfigError(f"{where}: an answer must be a text or a message, got {type(answer).__name__}")
