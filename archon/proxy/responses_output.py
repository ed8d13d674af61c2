"""Results in the wire form of /v1/responses: the object, and the events of a stream."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from archon.executor import Result
from archon.proxy.runs import Job, report
from archon.proxy.schema import ResponsesBody
from archon.types import Chunk, Message, Usage

Json = dict[str, Any]


def response(job: Job, body: ResponsesBody, result: Result | None) -> Json:
    """The response object; without a result, as it stands while the answer is being made."""
    cut = result is not None and result.candidates[0].finish_reason == "length"
    whole: Json = {
        "id": "resp_" + job.trace_id.removeprefix("tr_"),
        "object": "response",
        "created_at": int(job.began),
        "status": "in_progress" if result is None else "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "model": job.served.id,
        "output": [] if result is None else output(job, result.answer),
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": body.reasoning.effort if body.reasoning else None, "summary": None},
        "store": False,
        "temperature": body.temperature,
        "text": {"format": (body.text.format if body.text else None) or {"type": "text"}},
        "tool_choice": body.tool_choice or "auto",
        "tools": body.tools or [],
        "top_p": body.top_p,
        "truncation": "disabled",
        "usage": None if result is None else usage(job.list_usage),
        "user": body.user,
        "metadata": body.metadata or {},
    }
    return whole if result is None else {**whole, "archon": report(job)}


def usage(total: Usage) -> Json:
    """Tokens of every call of the graph."""
    return {
        "input_tokens": total.prompt_tokens,
        "input_tokens_details": {"cached_tokens": total.cached_tokens},
        "output_tokens": total.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": total.tokens,
    }


def output(job: Job, message: Message) -> list[Json]:
    """The items of an answer: its text, then its function calls."""
    items = [message_item(job, message.text)] if message.text or not message.tool_calls else []
    return items + [call_item(job, index, call) for index, call in enumerate(message.tool_calls)]


def message_item(job: Job, text: str | None, status: str = "completed") -> Json:
    """A message; `text` None = nothing of it has come."""
    content = [] if text is None else [part(text)]
    return {
        "id": "msg_" + job.trace_id.removeprefix("tr_"),
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": content,
    }


def part(text: str) -> Json:
    """A part of a message's content."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def call_item(job: Job, index: int, call: Mapping[str, Any], status: str = "completed") -> Json:
    """A function call."""
    function = call.get("function") or {}
    return {
        "id": f"fc_{job.trace_id.removeprefix('tr_')}_{index}",
        "type": "function_call",
        "status": status,
        "call_id": call.get("id") or f"call_{job.trace_id.removeprefix('tr_')}_{index}",
        "name": function.get("name") or "",
        "arguments": function.get("arguments") or "",
    }


class ResponseEvents:
    """The events of one streamed response, numbered in order: (name, data)."""

    def __init__(self, job: Job, body: ResponsesBody) -> None:
        self._job, self._body = job, body
        self._number = 0
        self._text: list[str] = []
        self._opened = False

    def begin(self) -> list[tuple[str, bytes]]:
        """What goes before the answer, once."""
        if self._number:
            return []
        whole = response(self._job, self._body, None)
        return [self._event("response.created", response=whole), self._event("response.in_progress", response=whole)]

    def progress(self, told: Json) -> tuple[str, bytes]:
        """A node that starts or ends."""
        return self._event("response.archon.progress", progress=told)

    def piece(self, chunk: Chunk) -> list[tuple[str, bytes]]:
        """A piece of text; function calls are told when they are whole."""
        if not chunk.text:
            return []
        self._text.append(chunk.text)
        return [*self._open(), self._delta(chunk.text)]

    def rest(self, result: Result) -> list[tuple[str, bytes]]:
        """The end of the answer, and all of it that has not been told."""
        message, events = result.answer, []
        if not self._text and (message.text or not message.tool_calls):
            events += [*self._open(), self._delta(message.text)] if message.text else self._open()
        if self._opened:
            events += self._close("".join(self._text) or message.text)
        first = int(self._opened)
        for index, call in enumerate(message.tool_calls):
            events += self._call(first + index, index, call)
        name = "response.incomplete" if result.candidates[0].finish_reason == "length" else "response.completed"
        return [*events, self._event(name, response=response(self._job, self._body, result))]

    def error(self, envelope: bytes) -> tuple[str, bytes]:
        """A failure after the first event."""
        told = json.loads(envelope)["error"]
        fields = {name: told[name] for name in ("message", "code", "param")}
        return self._event("error", error=told, **fields)

    def _open(self) -> list[tuple[str, bytes]]:
        if self._opened:
            return []
        self._opened = True
        item = message_item(self._job, None, "in_progress")
        return [
            self._event("response.output_item.added", output_index=0, item=item),
            self._event("response.content_part.added", **self._place, part=part("")),
        ]

    def _close(self, text: str) -> list[tuple[str, bytes]]:
        return [
            self._event("response.output_text.done", **self._place, text=text, logprobs=[]),
            self._event("response.content_part.done", **self._place, part=part(text)),
            self._event("response.output_item.done", output_index=0, item=message_item(self._job, text)),
        ]

    def _delta(self, text: str) -> tuple[str, bytes]:
        return self._event("response.output_text.delta", **self._place, delta=text, logprobs=[])

    def _call(self, place: int, index: int, call: Mapping[str, Any]) -> list[tuple[str, bytes]]:
        item = call_item(self._job, index, call)
        where = {"output_index": place, "item_id": item["id"]}
        begun = {**item, "arguments": "", "status": "in_progress"}
        arguments = item["arguments"]
        return [
            self._event("response.output_item.added", output_index=place, item=begun),
            self._event("response.function_call_arguments.delta", **where, delta=arguments),
            self._event("response.function_call_arguments.done", **where, arguments=arguments, name=item["name"]),
            self._event("response.output_item.done", output_index=place, item=item),
        ]

    @property
    def _place(self) -> Json:
        return {"output_index": 0, "content_index": 0, "item_id": message_item(self._job, None)["id"]}

    def _event(self, name: str, /, **fields: Any) -> tuple[str, bytes]:
        body = {"type": name, "sequence_number": self._number, **fields}
        self._number += 1
        return name, json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
