"""What every request field means for an architecture. `docs/proxy-fields.md` is this table; tests hold it to the code.

For a plain model of an OpenAI-compatible endpoint every field is passed on as it is; this table is not consulted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Meaning = Literal["conversation", "answer", "every", "run", "transport", "harmless", "refused"]

MEANINGS: Mapping[Meaning, str] = MappingProxyType(
    {
        "conversation": "the conversation, given whole to every node",
        "answer": "set for the nodes that write the answer, in place of their own settings: the last node, or, where "
        "that only chooses (ranker, vote, verifier), the nodes whose answers it chooses from",
        "every": "given to every node that writes an answer (generators and fusers), not to those that judge",
        "run": "applied to the run as a whole",
        "transport": "how the answer is sent",
        "harmless": "accepted; changes nothing here",
        "refused": "refused with 400 before any call",
    }
)


@dataclass(frozen=True, slots=True)
class Field:
    """One request field."""

    meaning: Meaning
    note: str = ""


CHAT: Mapping[str, Field] = MappingProxyType(
    {
        "model": Field("run", "`archon/NAME` names the architecture"),
        "messages": Field("conversation", "roles, names, images, tool calls and tool results are kept"),
        "temperature": Field("answer"),
        "top_p": Field("answer"),
        "max_tokens": Field("answer"),
        "max_completion_tokens": Field("answer", "the same as `max_tokens`; it wins where both are given"),
        "stop": Field("answer"),
        "frequency_penalty": Field("answer", "refused where a model that writes the answer runs locally"),
        "presence_penalty": Field("answer", "refused where a model that writes the answer runs locally"),
        "reasoning_effort": Field("answer", "refused where a model that writes the answer is not behind an API"),
        "verbosity": Field("answer", "refused where a model that writes the answer is not behind an API"),
        "response_format": Field(
            "answer", "and checked on the final answer: one that breaks it is an error, not an answer (see below)"
        ),
        "logprobs": Field("answer", "refused unless the last node writes the answer and its model gives them"),
        "top_logprobs": Field("answer", "needs `logprobs`"),
        "tools": Field("every", "refused where one of their models cannot call tools"),
        "tool_choice": Field("every", "needs `tools`"),
        "parallel_tool_calls": Field("answer", "sent where `tools` are given, harmless without"),
        "n": Field("run", "so many runs, each with draws of its own; `max_usd` and `max_calls` bound all of them"),
        "seed": Field(
            "run", "seed of every draw; models that take no seed ignore it; without it every request has its own"
        ),
        "archon": Field("run", "bounds (`max_usd`, `max_seconds`, `max_calls`) and `progress`"),
        "stream": Field("transport"),
        "stream_options": Field("transport", "`include_usage`, `include_obfuscation` (nothing is added)"),
        "user": Field("harmless"),
        "store": Field("harmless"),
        "metadata": Field("harmless"),
        "service_tier": Field("harmless"),
        "safety_identifier": Field("harmless"),
        "prompt_cache_key": Field("harmless"),
        "prompt_cache_retention": Field("harmless"),
        "prompt_cache_options": Field("harmless"),
        "modalities": Field("transport", "`text` alone"),
        "logit_bias": Field("refused", "token ids belong to one model's vocabulary, an architecture has several"),
        "audio": Field("refused", "no layer writes audio"),
        "prediction": Field("refused", "no layer takes a predicted answer"),
        "web_search_options": Field("refused", "no layer searches the web"),
        "moderation": Field("refused", "no layer moderates"),
        "functions": Field("refused", "deprecated by OpenAI; use `tools`"),
        "function_call": Field("refused", "deprecated by OpenAI; use `tool_choice`"),
    }
)
"""POST /v1/chat/completions."""

COMPLETIONS: Mapping[str, Field] = MappingProxyType(
    {
        "model": CHAT["model"],
        "prompt": Field("conversation", "one text, sent as a user message; a list of one text is taken too"),
        "temperature": CHAT["temperature"],
        "top_p": CHAT["top_p"],
        "max_tokens": CHAT["max_tokens"],
        "stop": CHAT["stop"],
        "frequency_penalty": CHAT["frequency_penalty"],
        "presence_penalty": CHAT["presence_penalty"],
        "n": CHAT["n"],
        "seed": CHAT["seed"],
        "archon": CHAT["archon"],
        "stream": CHAT["stream"],
        "stream_options": CHAT["stream_options"],
        "user": CHAT["user"],
        "echo": Field("refused", "unless false: the prompt is no part of a chat answer"),
        "best_of": Field("refused", "unless 1 or `n`: choosing is the architecture's work"),
        "logprobs": Field("refused", "use /v1/chat/completions"),
        "suffix": Field("refused", "no layer fills in the middle"),
        "logit_bias": CHAT["logit_bias"],
    }
)
"""POST /v1/completions."""

RESPONSES: Mapping[str, Field] = MappingProxyType(
    {
        "model": CHAT["model"],
        "input": Field("conversation", "a text, or messages, function calls and their outputs"),
        "instructions": Field("conversation", "a system message before it"),
        "temperature": CHAT["temperature"],
        "top_p": CHAT["top_p"],
        "max_output_tokens": Field("answer"),
        "text": Field("answer", "`format` as `response_format` of chat, `verbosity`"),
        "reasoning": Field("answer", "`effort`; `summary` other than null is refused"),
        "tools": Field("every", "functions alone; OpenAI's hosted tools are refused"),
        "tool_choice": CHAT["tool_choice"],
        "parallel_tool_calls": CHAT["parallel_tool_calls"],
        "archon": CHAT["archon"],
        "stream": CHAT["stream"],
        "stream_options": Field("transport"),
        "user": CHAT["user"],
        "metadata": Field("harmless", "given back"),
        "store": Field("harmless", "nothing is stored"),
        "service_tier": CHAT["service_tier"],
        "safety_identifier": CHAT["safety_identifier"],
        "prompt_cache_key": CHAT["prompt_cache_key"],
        "prompt_cache_retention": CHAT["prompt_cache_retention"],
        "prompt_cache_options": CHAT["prompt_cache_options"],
        "truncation": Field("harmless", "`auto` too: a conversation that does not fit is refused, never cut"),
        "include": Field("refused", "unless empty: there is nothing further to include"),
        "top_logprobs": Field("refused", "use /v1/chat/completions"),
        "background": Field("refused", "unless false: answers are not kept"),
        "background_options": Field("refused", "answers are not kept"),
        "previous_response_id": Field("refused", "answers are not kept; send the conversation"),
        "conversation": Field("refused", "conversations are not kept; send the messages"),
        "context_management": Field("refused", "the conversation is taken as it is"),
        "max_tool_calls": Field("refused", "there are no hosted tools to count"),
        "prompt": Field("refused", "there are no stored prompts"),
        "moderation": CHAT["moderation"],
        "image": Field("refused", "no layer makes images"),
        "access_programs": Field("refused", "unknown here"),
    }
)
"""POST /v1/responses."""

TABLES: Mapping[str, Mapping[str, Field]] = MappingProxyType(
    {"/v1/chat/completions": CHAT, "/v1/completions": COMPLETIONS, "/v1/responses": RESPONSES}
)


def markdown() -> str:
    """The tables as a page."""
    parts = [_HEAD, "| meaning | what it says |", "|---|---|"]
    parts += [f"| {meaning} | {said} |" for meaning, said in MEANINGS.items()]
    for path, table in TABLES.items():
        parts += ["", f"## POST {path}", "", "| field | meaning | note |", "|---|---|---|"]
        parts += [f"| `{name}` | {field.meaning} | {field.note} |" for name, field in table.items()]
    return "\n".join([*parts, "", _TAIL])


_HEAD = """\
# Request fields

What every request field means when the model is an architecture. A plain model of an OpenAI-compatible endpoint gets
every field of a chat completion passed on as it is. A field that is in no table is refused with 400, and so is one that
cannot be honoured, before any call is made: nothing is ignored silently.
"""

_TAIL = """\
## Schemas

A schema of `response_format` (or of `text.format`) is read as JSON Schema 2020-12, and the final answer is checked
against it. A schema that could not be checked in bounded time, or of which a part would be ignored, is refused with
400 before any call:

- `pattern` and `patternProperties`: a regular expression of a stranger's can take exponential time;
- a `$ref` that leads to no subschema within the schema (`#`, `#/$defs/…`), an `$id` below the top, `$dynamicRef`,
  `$recursiveRef`;
- references by which a subschema leads back to itself on the same value, or by which more than 10,000 subschemas (32
  within one another) apply to one value; a schema of more than 10,000 subschemas or 1,000,000 characters. Trees are
  taken: a `$ref` may lead back from a property or an item;
- `unevaluatedProperties`, `unevaluatedItems`, and `dependencies` and `additionalItems` of older drafts.

`format` is an annotation, as the standard has it, and is not checked. An answer longer than 1,000,000 characters or
nested deeper than 64 levels counts as one that breaks the schema (502, `response_format_not_met`), and so do answers
that together take more than 500,000 steps to check. NaN, the infinities and numbers beyond 1e308 are no JSON here.
For a plain model that is passed through, schemas go on as they are, and nothing is checked.

## Tool calls inside an architecture

| step | what happens to an answer that calls tools |
|---|---|
| generated | every generator is given `tools` and `tool_choice` |
| ranked, critiqued, verified, tested | the judge reads the calls written out as text, name and arguments |
| voted | calls agree when their names and arguments agree; ids and spacing do not count |
| fused | the fuser reads them as text, is given `tools` itself, and makes the call that counts |

## Bounds of one request

`{"archon": {"max_usd": 0.01, "max_seconds": 20, "max_calls": 8}}` bounds a request. A run that meets its bound makes
no further call and answers with the best candidate it has: the first of the last stage that has any, which is the best
scored, else the one most of its siblings agree with. The answer's `archon` object says so under `stopped`. Where
nothing has been drawn yet the request fails with 400 (`cap_too_small`).
"""
