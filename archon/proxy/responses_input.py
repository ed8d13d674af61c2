"""The body of /v1/responses as a chat completion's: one reading for both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archon.proxy.errors import invalid
from archon.proxy.schema import ResponsesBody

Json = dict[str, Any]
_SAME = ("model", "temperature", "top_p", "parallel_tool_calls", "stream", "user")
_TEXTS = ("input_text", "output_text", "text")


def as_chat(body: ResponsesBody) -> Json:
    """The same request as a chat completion's. Raises ApiError for an item or tool that no layer can take."""
    chat: Json = {name: getattr(body, name) for name in _SAME if getattr(body, name) is not None}
    system = [{"role": "system", "content": body.instructions}] if body.instructions else []
    asked = [{"role": "user", "content": body.input}] if isinstance(body.input, str) else list(_messages(body.input))
    chat["messages"] = system + asked
    if body.max_output_tokens is not None:
        chat["max_completion_tokens"] = body.max_output_tokens
    if body.reasoning and body.reasoning.effort is not None:
        chat["reasoning_effort"] = body.reasoning.effort
    if body.text and body.text.verbosity is not None:
        chat["verbosity"] = body.text.verbosity
    if body.text and body.text.format is not None:
        chat["response_format"] = _format(body.text.format)
    if body.tools:
        chat["tools"] = [_tool(tool, index) for index, tool in enumerate(body.tools)]
    if body.tool_choice is not None:
        chat["tool_choice"] = _choice(body.tool_choice)
    chat["archon"] = body.archon.model_dump()
    return chat


def _messages(items: Sequence[Json]) -> Iterator[Json]:
    """Items as messages; function calls that stand in a row are one assistant message."""
    calls: list[Json] = []
    for index, item in enumerate(items):
        if item.get("type") == "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            calls.append({"id": item.get("call_id"), "type": "function", "function": function})
            continue
        if calls:
            yield {"role": "assistant", "content": None, "tool_calls": calls}
            calls = []
        yield _message(item, index)
    if calls:
        yield {"role": "assistant", "content": None, "tool_calls": calls}


def _message(item: Json, index: int) -> Json:
    if item.get("type") == "function_call_output":
        output = item.get("output")
        content = output if isinstance(output, str) else _content(output, f"input.{index}.output")
        return {"role": "tool", "tool_call_id": item.get("call_id"), "content": content}
    if item.get("type") not in (None, "message"):
        raise invalid(f"input.{index}: items of type {str(item.get('type'))[:50]!r} are not taken", "input")
    return {"role": item.get("role"), "content": _content(item.get("content"), f"input.{index}.content")}


def _content(content: object, where: str) -> str | list[Json]:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise invalid(f"{where}: it must be text or a list of parts", "input")
    parts = [_part(part, where) for part in content]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _part(part: object, where: str) -> Json:
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(part, dict) and kind in _TEXTS and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if isinstance(part, dict) and kind == "refusal" and isinstance(part.get("refusal"), str):
        return {"type": "text", "text": part["refusal"]}
    if isinstance(part, dict) and kind == "input_image" and isinstance(part.get("image_url"), str):
        image = {"url": part["image_url"], **({"detail": part["detail"]} if part.get("detail") else {})}
        return {"type": "image_url", "image_url": image}
    raise invalid(f"{where}: parts of type {str(kind)[:50]!r} are not taken", "input")


def _tool(tool: Json, index: int) -> Json:
    if tool.get("type") != "function":
        raise invalid(f"tools.{index}: hosted tools ({str(tool.get('type'))[:50]!r}) are not served", "tools")
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}


def _choice(choice: Any) -> Any:
    if isinstance(choice, Mapping) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return choice


def _format(given: Json) -> Json:
    if given.get("type") != "json_schema":
        return given
    return {"type": "json_schema", "json_schema": {key: value for key, value in given.items() if key != "type"}}
