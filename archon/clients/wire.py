"""OpenAI's chat completion object, read into a `Completion`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archon.clients.price import priced
from archon.errors import ClientError
from archon.types import Completion, Message, Price, TokenLogprob, Usage

_MOST_TOKENS = 2**53 - 1
"""Of a report that is believed: a whole number of any JSON reader."""


def read_completion(raw: Mapping[str, Any], model: str, price: Price | None, seconds: float, where: str) -> Completion:
    """The first choice of a chat completion.

    Args:
        model: our name for the model.
        seconds: how long the call took.
        where: model and host, for the error.

    Raises:
        ClientError: it is not of that form.
    """
    try:
        choice = raw["choices"][0]
        said = {key: value for key, value in choice["message"].items() if key == "content" or not _is_empty(value)}
        return Completion(
            Message.from_dict({"role": "assistant", **said}),
            model,
            read_usage(raw.get("usage"), price, seconds),
            choice.get("finish_reason") or "stop",
            read_logprobs(choice.get("logprobs")),
            id=str(raw.get("id") or ""),
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ClientError(f"{where}: what came is not a chat completion ({type(error).__name__})") from error


def _is_empty(value: Any) -> bool:
    """Whether a key says nothing: SDKs and servers fill messages with nulls, empty lists, objects of nulls."""
    return not value or (isinstance(value, Mapping) and all(item is None for item in value.values()))


def read_usage(raw: Mapping[str, Any] | None, price: Price | None, seconds: float) -> Usage:
    """The reported usage with its cost; no report, or one that no call can have = no tokens and an unknown cost.

    Raises:
        TypeError, ValueError, AttributeError, OverflowError: it is not of the form.
    """
    raw = raw or {}
    details = raw.get("prompt_tokens_details") or {}
    prompt, completion = int(raw.get("prompt_tokens") or 0), int(raw.get("completion_tokens") or 0)
    cached = int(details.get("cached_tokens") or 0)
    if not (0 <= prompt <= _MOST_TOKENS and 0 <= completion <= _MOST_TOKENS):
        prompt = completion = cached = 0
    return priced(Usage(1, prompt, completion, cached, seconds=seconds), price)


def read_logprobs(raw: Mapping[str, Any] | None) -> tuple[TokenLogprob, ...] | None:
    """The `logprobs` object of a choice; None where there is none."""
    if not raw or raw.get("content") is None:
        return None
    return tuple(
        TokenLogprob(
            each["token"],
            each["logprob"],
            tuple((top["token"], top["logprob"]) for top in each.get("top_logprobs") or ()),
        )
        for each in raw["content"]
    )
