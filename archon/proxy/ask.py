"""What a request asks of an architecture, read from any of the three routes; and whether it can be honoured at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archon.context import RunOptions
from archon.proxy.bounds import deeper_than
from archon.proxy.errors import ApiError, invalid
from archon.proxy.fields import Field
from archon.proxy.json_schema import Form, read_form
from archon.proxy.json_schema_check import MOST_STEPS, Steps, TooMuchError, failure
from archon.proxy.json_values import loads
from archon.proxy.schema import ArchonOptions, ChatBody, ResponseFormat
from archon.types import Message, Sampling

MOST_TEXT = 1_000_000
"""Characters of an answer that is held against the form asked for."""
MOST_DEPTH = 64
"""Objects and lists within one another in it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request."""

    messages: tuple[Message, ...]
    final: Sampling = Sampling()
    """Settings of the answer."""
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None
    form: Form | None = None
    """The schema of `response_format`, where it has one."""
    n: int = 1
    seed: int | None = None
    stream: bool = False
    include_usage: bool = False
    archon: ArchonOptions = field(default_factory=ArchonOptions)

    @property
    def options(self) -> RunOptions:
        """For the executor."""
        return RunOptions(
            tools=self.tools, tool_choice=self.tool_choice, response_format=self.response_format, final=self.final
        )


def refusals(table: Mapping[str, Field]) -> dict[str, str]:
    """The fields of a table that are refused, with the reason."""
    return {name: field.note for name, field in table.items() if field.meaning == "refused"}


def from_chat(body: ChatBody) -> Ask:
    """A chat completion's. Raises ApiError where fields contradict each other."""
    if body.top_logprobs is not None and not body.logprobs:
        raise invalid("top_logprobs: it needs logprobs: true", "top_logprobs")
    tools = tuple(tool.model_dump(exclude_none=True) for tool in body.tools or ())
    extra = {"reasoning_effort": body.reasoning_effort, "verbosity": body.verbosity}
    if tools:
        extra["parallel_tool_calls"] = body.parallel_tool_calls  # type: ignore[assignment]
    return Ask(
        messages(body.messages),
        Sampling(
            temperature=body.temperature,
            top_p=body.top_p,
            max_tokens=body.max_completion_tokens or body.max_tokens,
            stop=stops(body.stop),
            logprobs=body.logprobs or None,
            top_logprobs=body.top_logprobs,
            frequency_penalty=body.frequency_penalty,
            presence_penalty=body.presence_penalty,
            extra={name: value for name, value in extra.items() if value is not None},
        ),
        tools,
        choice(body.tool_choice, tools),
        wanted_format(body.response_format),
        wanted_form(body.response_format),
        body.n or 1,
        body.seed,
        bool(body.stream),
        bool(body.stream_options and body.stream_options.include_usage),
        body.archon,
    )


def messages(given: Sequence[Any]) -> tuple[Message, ...]:
    """The conversation, whole."""
    return tuple(Message.from_dict(each.model_dump(exclude_unset=True)) for each in given)


def stops(stop: str | list[str] | None) -> tuple[str, ...]:
    """Stop texts, in either form."""
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


def choice(tool_choice: Any, tools: Sequence[Mapping[str, Any]]) -> Any:
    """`tool_choice`. Raises ApiError where it names no tool that is given."""
    if tool_choice is None or tool_choice in ("none", "auto"):
        return tool_choice if tools else None
    if not tools:
        raise invalid("tool_choice: it needs tools", "tool_choice")
    if isinstance(tool_choice, str):
        if tool_choice != "required":
            raise invalid("tool_choice: it must be none, auto, required or a named function", "tool_choice")
        return tool_choice
    if not isinstance(tool_choice.get("type"), str):
        raise invalid("tool_choice.type: it must be a text", "tool_choice")
    if tool_choice["type"] == "function" and (name := _named(tool_choice)) not in _names(tools):
        raise invalid(f"tool_choice: there is no function {str(name)[:80]!r} among the tools", "tool_choice")
    return tool_choice


def _named(tool_choice: Mapping[str, Any]) -> object:
    function = tool_choice.get("function")
    return function.get("name") if isinstance(function, Mapping) else None


def _names(tools: Sequence[Mapping[str, Any]]) -> list[str]:
    return [tool["function"]["name"] for tool in tools]


def wanted_format(given: ResponseFormat | None) -> dict[str, Any] | None:
    """`response_format`, None for plain text."""
    if given is None or given.type == "text":
        return None
    return given.model_dump(exclude_unset=True, by_alias=True)


def wanted_form(given: ResponseFormat | None) -> Form | None:
    """Its schema. Raises ApiError where that is none, or one that answers cannot be checked against."""
    if given is None or given.type != "json_schema":
        return None
    if given.json_schema is None:
        raise invalid("response_format.json_schema: it is required", "response_format")
    return read_form(given.json_schema.schema_)


def check_answer(message: Message, finish_reason: str, ask: Ask, steps: Steps) -> None:
    """Raises ApiError where an answer breaks the form that was asked for, or no steps are left to see whether it does.

    A tool call, a refusal and an answer that was cut off (`length`) are what they say they are, and are not checked.
    """
    cut = finish_reason == "length"
    if ask.response_format is None or message.tool_calls or message.extra.get("refusal") or cut:
        return
    value = _value(message.text)
    if ask.form is None:
        if not isinstance(value, dict):
            raise _broken("it is JSON, but no object")
    elif (broken := schema_error(value, ask.form, steps)) is not None:
        raise _broken(broken)


def _value(text: str) -> Any:
    if len(text) > MOST_TEXT or deeper_than(text.encode("utf-8", "replace"), MOST_DEPTH):
        raise _broken(f"it is longer than {MOST_TEXT:,} characters, or nested deeper than {MOST_DEPTH} levels")
    try:
        return loads(text)
    except (ValueError, RecursionError):
        raise _broken("it is not JSON") from None


def schema_error(value: object, form: Form, steps: Steps) -> str | None:
    """What of a value breaks a schema; None = nothing."""
    try:
        found = failure(form, value, steps)
    except RecursionError:
        return "it is nested too deeply for the schema"
    except TooMuchError:
        return f"to check the answers against the schema takes more than {MOST_STEPS:,} steps"
    if found is None:
        return None
    path = ".".join(str(step) for step in found[0])[:200] or "the answer"
    return f"{path} breaks {found[1]!r} of the schema"


def _broken(what: str) -> ApiError:
    return ApiError(
        502,
        f"the answer breaks response_format: {what}; nothing else came from the last node",
        code="response_format_not_met",
        retry=False,
    )
