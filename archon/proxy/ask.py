"""What a request asks of an architecture, read from any of the three routes; and whether it can be honoured at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archon.context import RunOptions
from archon.proxy.errors import ApiError, invalid
from archon.proxy.fields import Field
from archon.proxy.schema import ArchonOptions, ChatBody, ResponseFormat
from archon.types import Message, Sampling

_API_ONLY = ("reasoning_effort", "verbosity", "parallel_tool_calls")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request."""

    messages: tuple[Message, ...]
    final: Sampling = Sampling()
    """Settings of the answer."""
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None
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
    name = (tool_choice.get("function") or {}).get("name") if tool_choice.get("type") == "function" else None
    if tool_choice.get("type") == "function" and name not in [tool["function"]["name"] for tool in tools]:
        raise invalid(f"tool_choice: there is no function {name!r} among the tools", "tool_choice")
    return tool_choice


def wanted_format(given: ResponseFormat | None) -> dict[str, Any] | None:
    """`response_format`, None for plain text. Raises ApiError where its schema is no schema."""
    if given is None or given.type == "text":
        return None
    if given.type == "json_schema":
        if given.json_schema is None:
            raise invalid("response_format.json_schema: it is required", "response_format")
        check_schema(given.json_schema.schema_)
    return given.model_dump(exclude_unset=True, by_alias=True)


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raises ApiError where a JSON schema is none."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise invalid(f"response_format: the schema is not valid: {error.message[:200]}", "response_format") from None


def check_answer(message: Message, finish_reason: str, wanted: Mapping[str, Any] | None) -> None:
    """Raises ApiError where an answer breaks the form that was asked for.

    A tool call, a refusal and an answer that was cut off (`length`) are what they say they are, and are not checked.
    """
    if wanted is None or message.tool_calls or message.extra.get("refusal") or finish_reason == "length":
        return
    try:
        value = json.loads(message.text)
    except (ValueError, RecursionError):
        raise _broken("it is not JSON") from None
    if wanted["type"] == "json_object":
        if not isinstance(value, dict):
            raise _broken("it is JSON, but no object")
        return
    if (broken := schema_error(value, wanted["json_schema"].get("schema") or {})) is not None:
        raise _broken(broken)


def schema_error(value: object, schema: Mapping[str, Any]) -> str | None:
    """What of a value breaks a schema; None = nothing.

    References outside the schema are not followed, and patterns are not tried: a regular expression of a stranger's can
    take for ever.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match
    from jsonschema.validators import extend
    from referencing import Registry

    checker = extend(Draft202012Validator, {"pattern": None, "patternProperties": None})
    try:
        found = best_match(checker(schema, registry=Registry()).iter_errors(value))
    except RecursionError:
        return "it is nested too deeply for the schema"
    if found is None:
        return None
    path = ".".join(str(step) for step in found.absolute_path) or "the answer"
    return f"{path} breaks {found.validator!r} of the schema"


def _broken(what: str) -> ApiError:
    return ApiError(
        502,
        f"the answer breaks response_format: {what}; nothing else came from the last node",
        code="response_format_not_met",
        retry=False,
    )
