"""Results in the wire forms of chat completions: the whole object and the chunks of a stream."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from archon.executor import Result
from archon.proxy.runs import Job, report
from archon.types import Candidate, Chunk, TokenLogprob, Usage


def completion(job: Job, results: Sequence[Result]) -> dict[str, Any]:
    """A `chat.completion`."""
    return {
        "id": chat_id(job),
        "object": "chat.completion",
        "created": int(job.began),
        "model": job.served.id,
        "choices": [_choice(index, result) for index, result in enumerate(results)],
        "usage": usage(job.list_usage),
        "archon": report(job),
    }


def chat_id(job: Job) -> str:
    """The completion's id."""
    return "chatcmpl-" + job.trace_id.removeprefix("tr_")


def usage(total: Usage) -> dict[str, Any]:
    """Tokens of every call of the graph."""
    return {
        "prompt_tokens": total.prompt_tokens,
        "completion_tokens": total.completion_tokens,
        "total_tokens": total.tokens,
        "prompt_tokens_details": {"cached_tokens": total.cached_tokens},
    }


def finish(result: Result, tools: bool) -> str:
    """The finish reason: `tool_calls` wherever the answer calls tools."""
    if tools and result.answer.tool_calls:
        return "tool_calls"
    return result.candidates[0].finish_reason


def _choice(index: int, result: Result) -> dict[str, Any]:
    message = {"refusal": None, **result.answer.to_dict()}
    return {
        "index": index,
        "message": message,
        "logprobs": logprobs(result.candidates[0]),
        "finish_reason": finish(result, True),
    }


def logprobs(candidate: Candidate) -> dict[str, Any] | None:
    """The `logprobs` object of a choice; None where there are none."""
    if candidate.token_logprobs is None:
        return None
    return {"content": listed(candidate.token_logprobs), "refusal": None}


def listed(tokens: Iterable[TokenLogprob]) -> list[dict[str, Any]]:
    """Tokens with their log-probabilities."""
    return [
        {
            "token": each.token,
            "logprob": each.logprob,
            "bytes": list(each.token.encode(errors="replace")),
            "top_logprobs": [
                {"token": token, "logprob": value, "bytes": list(token.encode(errors="replace"))}
                for token, value in each.top
            ],
        }
        for each in tokens
    ]


class Chunks:
    """The chunks of one streamed chat completion."""

    kind = "chat.completion.chunk"

    def __init__(self, job: Job) -> None:
        self._job = job
        name = chat_id(job)
        self._frame = {"id": name, "object": self.kind, "created": int(time.time()), "model": job.served.id}
        self._begun: set[int] = set()

    def piece(self, index: int, chunk: Chunk) -> list[bytes]:
        """A piece of an answer; the role goes before the first."""
        if not (chunk.text or chunk.delta or chunk.logprobs):
            return []
        delta: dict[str, Any] = {"content": chunk.text} if chunk.text else {}
        delta.update(chunk.delta)
        found = {"content": listed(chunk.logprobs), "refusal": None} if chunk.logprobs else None
        return [*self._role(index), self._event(index, delta, logprobs=found)]

    def rest(self, index: int, result: Result, streamed: bool) -> list[bytes]:
        """The end of an answer: the whole of it where nothing was streamed, then its finish reason.

        Where no usage was asked for, the finish of the last answer carries the breakdown: some clients expect a choice
        in every chunk.
        """
        events = self._role(index)
        if not streamed:
            message = result.answer.to_dict()
            delta = {key: value for key, value in message.items() if key not in ("role", "tool_calls") and value}
            if result.answer.tool_calls:
                calls = enumerate(result.answer.tool_calls)
                delta["tool_calls"] = [{"index": number, **tool} for number, tool in calls]
            events.append(self._event(index, delta, logprobs=logprobs(result.candidates[0])))
        reason = "length" if streamed and result.stopped else finish(result, True)
        final = index == self._job.ask.n - 1 and not self._job.ask.include_usage
        return [*events, self._event(index, {}, reason, archon=report(self._job) if final else None)]

    def progress(self, index: int, told: Mapping[str, Any]) -> bytes:
        """A node that starts or ends."""
        return self._whole({"choices": [], "archon": {"progress": {"run": index, **told}}})

    def last(self) -> list[bytes]:
        """What it all took, where that was asked for: usage, and the breakdown by node."""
        if not self._job.ask.include_usage:
            return []
        body = {"choices": [], "usage": usage(self._job.list_usage), "archon": report(self._job)}
        return [self._whole(body)]

    def _role(self, index: int) -> list[bytes]:
        if index in self._begun:
            return []
        self._begun.add(index)
        return [self._event(index, {"role": "assistant", "content": ""})]

    def _event(
        self,
        index: int,
        delta: Mapping[str, Any],
        reason: str | None = None,
        *,
        logprobs: Mapping[str, Any] | None = None,
        archon: Mapping[str, Any] | None = None,
    ) -> bytes:
        choice = {"index": index, **self._content(delta), "logprobs": logprobs, "finish_reason": reason}
        return self._whole({"choices": [choice], **({"archon": archon} if archon else {})})

    def _content(self, delta: Mapping[str, Any]) -> dict[str, Any]:
        return {"delta": delta}

    def _whole(self, body: Mapping[str, Any]) -> bytes:
        head = {**self._frame, "usage": None} if self._job.ask.include_usage else self._frame
        return json.dumps({**head, **body}, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


class TextChunks(Chunks):
    """The chunks of one streamed text completion."""

    kind = "text_completion"

    def _role(self, index: int) -> list[bytes]:
        return []

    def _content(self, delta: Mapping[str, Any]) -> dict[str, Any]:
        return {"text": delta.get("content") or ""}


def text_completion(job: Job, results: Sequence[Result]) -> dict[str, Any]:
    """A `text_completion`."""
    whole = completion(job, results)
    choices = [
        {"index": index, "text": result.text, "logprobs": None, "finish_reason": finish(result, False)}
        for index, result in enumerate(results)
    ]
    return {**whole, "object": "text_completion", "choices": choices}
