"""The bodies that an architecture takes: types and ranges, held to `archon.proxy.fields` by a test.

A plain model of an OpenAI-compatible endpoint is not validated here; its endpoint does that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from archon.proxy.errors import ApiError, invalid

Heat = Annotated[float, Field(ge=0, le=2)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Count = Annotated[int, Field(ge=1, le=2**31)]
Stop = str | Annotated[list[str], Field(max_length=16)]
Json = dict[str, Any]
B = TypeVar("B", bound=BaseModel)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ArchonOptions(_Body):
    """Bounds of one request, and what else only an architecture has."""

    max_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """US dollars."""
    max_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_calls: int | None = Field(default=None, ge=0)
    """Calls of models."""
    progress: bool = False
    """Whether a stream tells of every node that starts and ends."""

    @property
    def bounded(self) -> bool:
        """Whether a bound is set."""
        return not (self.max_usd is None and self.max_seconds is None and self.max_calls is None)


class StreamOptions(_Body):
    """How a stream is sent."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatMessage(BaseModel):
    """A chat message; keys not named here are kept."""

    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Json] | None = None
    name: str | None = None
    tool_calls: list[Json] | None = None
    tool_call_id: str | None = None


class FunctionTool(BaseModel):
    """A function that the model may call."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(min_length=1, max_length=256)
    description: str | None = None
    parameters: Json | None = None
    strict: bool | None = None


class ChatTool(BaseModel):
    """A tool of a chat completion."""

    model_config = ConfigDict(extra="allow")

    type: Literal["function"]
    function: FunctionTool


class JsonSchema(BaseModel):
    """A named schema."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    name: str = "answer"
    schema_: Json = Field(default_factory=dict, alias="schema")
    strict: bool | None = None


class ResponseFormat(BaseModel):
    """The form an answer must have."""

    model_config = ConfigDict(extra="allow")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class _Sampled(_Body):
    model: str
    temperature: Heat | None = None
    top_p: float | None = Field(default=None, gt=0, le=1)
    stop: Stop | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    n: int | None = Field(default=None, ge=1, le=128)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    archon: ArchonOptions = ArchonOptions()


class ChatBody(_Sampled):
    """POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    tools: list[ChatTool] | None = Field(default=None, max_length=128)
    tool_choice: str | Json | None = None
    parallel_tool_calls: bool | None = None
    store: bool | None = None
    metadata: Json | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: Json | None = None
    modalities: list[Literal["text"]] | None = None


class CompletionBody(_Sampled):
    """POST /v1/completions."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    max_tokens: Count | None = None
    echo: Literal[False] | None = None
    best_of: int | None = None


class ResponsesText(_Body):
    """`text` of a response."""

    format: Json | None = None
    verbosity: str | None = None


class ResponsesReasoning(_Body):
    """`reasoning` of a response."""

    effort: str | None = None
    summary: None = None
    generate_summary: None = None


class ResponsesBody(_Body):
    """POST /v1/responses."""

    model: str
    input: str | Annotated[list[Json], Field(min_length=1)]
    instructions: str | None = None
    temperature: Heat | None = None
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_output_tokens: Count | None = None
    text: ResponsesText | None = None
    reasoning: ResponsesReasoning | None = None
    tools: list[Json] | None = Field(default=None, max_length=128)
    tool_choice: str | Json | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    stream_options: Json | None = None
    user: str | None = None
    metadata: Json | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: Json | None = None
    truncation: Literal["auto", "disabled"] | None = None
    include: Annotated[list[str], Field(max_length=0)] | None = None
    background: Literal[False] | None = None
    archon: ArchonOptions = ArchonOptions()


def read(kind: type[B], raw: Json, refused: Mapping[str, str]) -> B:
    """A body. Raises ApiError naming the first field that is wrong.

    Args:
        refused: fields that are known and cannot be honoured, with the reason.
    """
    for name in raw:
        if name in refused and raw[name] is not None and name not in kind.model_fields:
            raise invalid(f"{name}: {refused[name]}", name, "unsupported_parameter")
    known = kind.model_fields
    try:
        return kind.model_validate(
            {name: value for name, value in raw.items() if value is not None or not (name in refused or name in known)}
        )
    except ValidationError as error:
        raise _first(error) from None
    except RecursionError:
        raise invalid("the body is nested too deeply", code="invalid_json") from None


def _first(error: ValidationError) -> ApiError:
    item = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(str(step) for step in item["loc"])
    if item["type"] == "extra_forbidden":
        return invalid(f"unknown field {path!r}", path, "unknown_parameter")
    if item["type"] == "missing":
        return invalid(f"{path}: it is required", path, "missing_required_parameter")
    return invalid(f"{path}: {item['msg']}", path, "invalid_value")
