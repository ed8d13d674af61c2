"""Every request field means what the table says: held to the schema, the official client, and what goes upstream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai.types import completion_create_params
from openai.types.chat import completion_create_params as chat_params
from openai.types.responses import response_create_params

from archon.proxy import fields
from archon.proxy.schema import ChatBody, CompletionBody, ResponsesBody
from archon.proxy.settings import Settings
from tests.proxy.serving import Serving, fake, fused, system, upstream, voted
from tests.proxy.wire import Answer, ask
from tests.servers import Body, CountingServer, Reply

PAGE = Path(__file__).parents[2] / "docs" / "proxy-fields.md"
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
JSON = {"type": "json_object"}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "n", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}


def test_the_page_is_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == fields.markdown()


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/chat/completions", ChatBody), ("/v1/completions", CompletionBody), ("/v1/responses", ResponsesBody)],
)
def test_the_schema_takes_exactly_what_the_table_does_not_refuse(path: str, body: Any) -> None:
    table = fields.TABLES[path]
    taken = {name for name, field in table.items() if field.meaning != "refused"}
    conditional = {name for name, field in table.items() if field.meaning == "refused" and "unless" in field.note}
    assert taken <= set(body.model_fields) <= taken | conditional


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/v1/chat/completions", chat_params.CompletionCreateParamsBase),
        ("/v1/completions", completion_create_params.CompletionCreateParamsBase),
        ("/v1/responses", response_create_params.ResponseCreateParamsBase),
    ],
)
def test_every_field_that_the_official_client_can_send_is_in_the_table(path: str, params: Any) -> None:
    assert set(params.__annotations__) <= set(fields.TABLES[path])


def answered(body: Body) -> Reply:
    """JSON where a form is asked for, a call where tools are offered, log-probabilities where asked for."""
    if body.get("response_format"):
        return Reply('{"a": 1}')
    if body.get("logprobs"):
        content = [{"token": "ok", "logprob": -0.5, "top_logprobs": [{"token": "ok", "logprob": -0.5}]}]
        return Reply("ok", logprobs={"content": content})
    return Reply("ok")


class Served:
    """An upstream with an architecture that fuses and one that votes."""

    def __init__(self, up: CountingServer, server: Serving) -> None:
        self.up, self.server = up, server

    def ask(self, model: str = "archon/fused", path: str = "/v1/chat/completions", **body: Any) -> Answer:
        """One request; the upstream's count starts anew."""
        self.up.bodies.clear()
        start = {"input": "q"} if path.endswith("responses") else {"messages": [{"role": "user", "content": "q"}]}
        start = {"prompt": "q"} if path.endswith("/completions") and "chat" not in path else start
        return ask(self.server.port, {"model": model, **start, **body}, path)

    @property
    def drafts(self) -> list[Body]:
        """What the generators asked."""
        return [body for body in self.up.bodies if len(body["messages"]) == 1]

    @property
    def final(self) -> list[Body]:
        """What the fuser asked: the drafts stand in a system message."""
        return [body for body in self.up.bodies if len(body["messages"]) == 2]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("fields")
    with CountingServer(answered) as up:
        row = upstream(up.endpoint)
        files = (system(folder, "fused", fused(), [row]), system(folder, "voted", voted(), [row], extractor="text"))
        with Serving(Settings(files=files)) as server:
            yield Served(up, server)


ANSWER_FIELDS: dict[str, tuple[Any, str, Any]] = {
    "temperature": (0.25, "temperature", 0.25),
    "top_p": (0.5, "top_p", 0.5),
    "max_tokens": (9, "max_tokens", 9),
    "max_completion_tokens": (9, "max_tokens", 9),
    "stop": ("END", "stop", ["END"]),
    "frequency_penalty": (0.5, "frequency_penalty", 0.5),
    "presence_penalty": (0.5, "presence_penalty", 0.5),
    "reasoning_effort": ("low", "reasoning_effort", "low"),
    "verbosity": ("low", "verbosity", "low"),
    "response_format": (JSON, "response_format", JSON),
    "logprobs": (True, "logprobs", True),
}
"""field → (value asked, upstream field, value sent)."""


@pytest.mark.parametrize("name", ANSWER_FIELDS)
def test_a_field_of_the_answer_reaches_the_last_node_alone(served: Served, name: str) -> None:
    given, key, sent = ANSWER_FIELDS[name]
    assert served.ask(**{name: given}).status == 200
    assert [body.get(key) for body in served.final] == [sent]
    assert len(served.drafts) == 3
    assert all(body.get(key) != sent for body in served.drafts)


@pytest.mark.parametrize("name", ["temperature", "max_tokens", "stop", "response_format"])
def test_where_the_last_node_only_chooses_a_field_reaches_those_it_chooses_from(served: Served, name: str) -> None:
    given, key, sent = ANSWER_FIELDS[name]
    assert served.ask("archon/voted", **{name: given}).status == 200
    assert [body.get(key) for body in served.up.bodies] == [sent] * 3


def test_all_fields_of_the_answer_are_tried_here() -> None:
    named = {name for name, field in fields.CHAT.items() if field.meaning == "answer"}
    assert named - set(ANSWER_FIELDS) == {"top_logprobs", "parallel_tool_calls"}


def test_tools_reach_every_writer(served: Served) -> None:
    answer = served.ask(tools=TOOLS, tool_choice="auto", parallel_tool_calls=False)
    assert answer.status == 200
    assert [body.get("tools") for body in served.up.bodies] == [TOOLS] * 4
    assert [body.get("tool_choice") for body in served.up.bodies] == ["auto"] * 4
    assert [body.get("parallel_tool_calls") for body in served.final] == [False]


def test_n_is_so_many_runs(served: Served) -> None:
    answer = served.ask(n=2)
    assert [choice["index"] for choice in answer.json["choices"]] == [0, 1]
    assert served.up.total >= 8
    assert len(served.up.bodies) == 8
    assert answer.json["usage"]["total_tokens"] == 80


HARMLESS: dict[str, Any] = {
    "user": "me",
    "store": True,
    "metadata": {"a": "b"},
    "service_tier": "auto",
    "safety_identifier": "x",
    "prompt_cache_key": "x",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {},
}


def test_harmless_fields_are_taken_and_not_sent(served: Served) -> None:
    assert set(HARMLESS) == {name for name, field in fields.CHAT.items() if field.meaning == "harmless"}
    assert served.ask(**HARMLESS, modalities=["text"]).status == 200
    assert not any(set(body) & set(HARMLESS) for body in served.up.bodies)


REFUSED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "logit_bias": {"1": 1},
        "audio": {"voice": "x"},
        "prediction": {"type": "content", "content": "x"},
        "web_search_options": {},
        "moderation": {"model": "x"},
        "functions": [{"name": "f"}],
        "function_call": "auto",
    },
    "/v1/completions": {"echo": True, "best_of": 3, "logprobs": 2, "suffix": "x", "logit_bias": {"1": 1}},
    "/v1/responses": {
        "include": ["reasoning.encrypted_content"],
        "top_logprobs": 2,
        "background": True,
        "background_options": {"a": 1},
        "previous_response_id": "resp_1",
        "conversation": "c",
        "context_management": [{"type": "x"}],
        "max_tool_calls": 2,
        "prompt": {"id": "x"},
        "moderation": {"model": "x"},
        "image": {"a": 1},
        "access_programs": ["x"],
    },
}


@pytest.mark.parametrize(("path", "name"), [(path, name) for path, table in REFUSED.items() for name in table])
def test_a_refused_field_is_named_and_nothing_is_called(served: Served, path: str, name: str) -> None:
    answer = served.ask(path=path, **{name: REFUSED[path][name]})
    assert answer.status == 400
    assert answer.error["param"] == name
    assert answer.error["type"] == "invalid_request_error"
    assert served.up.bodies == []


def test_all_refused_fields_are_tried_here() -> None:
    for path, table in fields.TABLES.items():
        assert {name for name, field in table.items() if field.meaning == "refused"} == set(REFUSED[path])


def test_an_unknown_field_is_refused_by_an_architecture_and_passed_on_to_a_plain_model(served: Served) -> None:
    answer = served.ask(min_p=0.1)
    assert (answer.status, answer.error["param"], answer.error["code"]) == (400, "min_p", "unknown_parameter")
    assert served.ask("m", min_p=0.1).status == 200
    assert served.up.bodies[0]["min_p"] == 0.1


def test_log_probabilities_come_from_the_last_node(served: Served) -> None:
    answer = served.ask(logprobs=True, top_logprobs=1)
    (token,) = answer.json["choices"][0]["logprobs"]["content"]
    assert (token["token"], token["logprob"]) == ("ok", -0.5)
    assert token["top_logprobs"][0]["token"] == "ok"


def test_a_vote_cannot_return_log_probabilities(served: Served) -> None:
    answer = served.ask("archon/voted", logprobs=True)
    assert (answer.status, answer.error["param"]) == (400, "logprobs")
    assert "vote" in answer.error["message"]
    assert served.up.bodies == []


RESPONSES = "/v1/responses"
FUNCTION = {"type": "function", "name": "look", "parameters": {"type": "object"}}
OF_RESPONSES: list[tuple[str, Any, str, Any]] = [
    ("temperature", 0.25, "temperature", 0.25),
    ("temperature", 0, "temperature", 0),
    ("top_p", 0.5, "top_p", 0.5),
    ("max_output_tokens", 9, "max_tokens", 9),
    ("text", {"verbosity": "low"}, "verbosity", "low"),
    ("text", {"format": JSON}, "response_format", JSON),
    ("reasoning", {"effort": "low"}, "reasoning_effort", "low"),
]
"""(field, value asked, upstream field, value sent), the value that means nothing to a truth test among them."""


@pytest.mark.parametrize(("name", "given", "key", "sent"), OF_RESPONSES)
def test_a_field_of_a_response_reaches_the_last_node_alone(
    served: Served, name: str, given: Any, key: str, sent: Any
) -> None:
    answer = served.ask(path=RESPONSES, **{name: given})
    assert answer.status == 200, answer.body
    assert [body.get(key) for body in served.final] == [sent]
    assert all(body.get(key) != sent for body in served.drafts)


def test_all_fields_of_a_response_are_tried_here() -> None:
    named = {name for name, field in fields.RESPONSES.items() if field.meaning == "answer"}
    assert named - {name for name, *_ in OF_RESPONSES} == {"parallel_tool_calls"}


def test_tools_of_a_response_reach_every_writer(served: Served) -> None:
    given: Any = {"tools": [FUNCTION], "tool_choice": "required", "parallel_tool_calls": False}
    answer = served.ask(path=RESPONSES, **given)
    assert answer.status == 200, answer.body
    assert answer.json["parallel_tool_calls"] is False
    assert [body.get("tools") for body in served.up.bodies] == [TOOLS] * 4
    assert [body.get("tool_choice") for body in served.up.bodies] == ["required"] * 4
    assert [body.get("parallel_tool_calls") for body in served.final] == [False]


def test_harmless_fields_of_a_response_are_taken_and_not_sent(served: Served) -> None:
    harmless = {**HARMLESS, "store": False, "truncation": "auto"}
    assert set(harmless) - {"user"} == {
        name for name, field in fields.RESPONSES.items() if field.meaning == "harmless"
    } - {"user"}
    empty: dict[str, Any] = {"include": [], "background": False, "previous_response_id": None, "stream": False}
    answer = served.ask(path=RESPONSES, **harmless, **empty)
    assert answer.status == 200, answer.body
    assert not any(set(body) & set(harmless) for body in served.up.bodies)


@pytest.mark.parametrize("name", fields.RESPONSES)
def test_null_is_as_good_as_nothing_in_a_response(served: Served, name: str) -> None:
    if name not in ("model", "input"):
        nothing: Any = {name: None}
        assert served.ask(path=RESPONSES, **nothing).status == 200


@pytest.mark.parametrize("name", fields.CHAT)
def test_null_is_as_good_as_nothing_in_a_chat(served: Served, name: str) -> None:
    if name not in ("model", "messages"):
        nothing: Any = {name: None}
        assert served.ask(**nothing).status == 200
        assert len(served.up.bodies) == 4


def test_bounds_that_are_null_leave_a_plain_model_passed_through(served: Served) -> None:
    assert served.ask("m", archon=None, min_p=0.1).status == 200
    assert [set(body) for body in served.up.bodies] == [{"model", "messages", "min_p"}]


def test_the_whole_conversation_reaches_the_generators(served: Served) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "see"}, image], "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "User: not a turn", "tool_call_id": "c1"},
        {"role": "user", "content": "and now?"},
    ]
    assert served.ask(messages=messages).status == 200
    generated = [body["messages"] for body in served.up.bodies[:3]]
    assert generated == [messages] * 3
    fused_ = served.up.bodies[3]["messages"]
    assert fused_[1:] == messages[1:]


def test_a_seed_repeats_a_run_and_without_one_every_run_has_its_own(tmp_path: Path) -> None:
    path = system(tmp_path, "seeded", fused("f"), [fake("f", "tests.proxy.serving:by_seed", seeded=True)])
    with Serving(Settings(files=(path,))) as server:
        body = {"model": "archon/seeded", "messages": [{"role": "user", "content": "q"}]}
        first, again = (ask(server.port, {**body, "seed": 7}).json for _ in range(2))
        other = ask(server.port, body).json
        repeated = ask(server.port, {**body, "seed": other["archon"]["seed"]}).json
    assert first["choices"] == again["choices"]
    assert first["choices"] != other["choices"]
    assert other["choices"] == repeated["choices"]
    assert first["archon"]["seed"] == 7


UNCHECKABLE: list[dict[str, Any]] = [
    {"pattern": "a"},
    {"patternProperties": {"^(a+)+$": {}}},
    {"properties": {"x": {"$ref": "#/nope"}}},
    {"$ref": "http://127.0.0.1:1/x"},
    {"$dynamicRef": "#a"},
    {
        "$ref": "#/$defs/a0",
        "$defs": {**{f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(30)}, "a30": {}},
    },
]
"""Schemas that answers cannot be checked against in bounded time, or at all."""


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


@pytest.mark.parametrize("schema", UNCHECKABLE)
def test_a_plain_model_is_passed_every_schema(served: Served, schema: dict[str, Any]) -> None:
    assert served.ask("m", response_format=_form(schema)).status == 200
    assert [body["response_format"] for body in served.up.bodies] == [_form(schema)]


BROKEN = [
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "nobody", "content": "x"}]}, "messages.0.role"),
    ({"temperature": 3}, "temperature"),
    ({"n": 0}, "n"),
    ({"n": 17}, "n"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
    ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": 5}}}},
        "response_format",
    ),
    *(({"response_format": _form(schema)}, "response_format") for schema in UNCHECKABLE),
    ({"tools": TOOLS, "tool_choice": {"type": "function", "function": "look"}}, "tool_choice"),
    ({"tools": TOOLS, "tool_choice": {"function": {"name": "look"}}}, "tool_choice"),
    ({"min_p": None}, "min_p"),
    ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": ["look"]}}}, "tool_choice"),
    ({"archon": {"max_pounds": 1}}, "archon.max_pounds"),
    ({"archon": {"max_seconds": -1}}, "archon.max_seconds"),
]


@pytest.mark.parametrize(("body", "param"), BROKEN)
def test_what_is_wrong_is_named_before_any_call(served: Served, body: Any, param: str) -> None:
    answer = served.ask(**body)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert served.up.bodies == []


BROKEN_RESPONSES: list[tuple[dict[str, Any], str]] = [
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"max_output_tokens": False}, "max_output_tokens"),
    ({"temperature": -1}, "temperature"),
    ({"input": []}, "input.str"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": {"type": "function", "name": "look"}}, "tool_choice"),
    ({"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "other"}}, "tool_choice"),
    ({"text": {"format": {}}}, "response_format.type"),
    ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {"pattern": "a"}}}}, "response_format"),
]


@pytest.mark.parametrize(("body", "param"), BROKEN_RESPONSES)
def test_what_is_wrong_with_a_response_is_named_before_any_call(served: Served, body: Any, param: str) -> None:
    answer = served.ask(path=RESPONSES, **body)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert served.up.bodies == []
