"""What fails upstream keeps its status, its words lose their secrets, and what would only spend again says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from archon.errors import ClientError, ConfigError, RunError
from archon.proxy.ask import MOST_TEXT, Ask, check_answer
from archon.proxy.errors import ApiError, from_error
from archon.proxy.json_schema_check import Steps
from archon.proxy.settings import Settings
from archon.types import Message
from tests.proxy.serving import Json, Serving, fused, system, upstream, voted
from tests.proxy.wire import ask
from tests.servers import Body, CountingServer, Reply

ASK: Json = {"model": "archon/s", "messages": [{"role": "user", "content": "q"}]}


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 408, 409, 413, 422, 429, 451])
def test_an_upstreams_refusal_keeps_its_status(tmp_path: Path, status: int) -> None:
    with CountingServer(lambda body: Reply("no", status=status)) as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as server:
            assert ask(server.port, ASK).status == status
            assert ask(server.port, {**ASK, "model": "m"}).status == status


@pytest.mark.parametrize(("status", "told"), [(500, 502), (502, 502), (503, 503), (504, 502), (529, 503)])
def test_an_upstreams_failure_is_a_bad_gateway(tmp_path: Path, status: int, told: int) -> None:
    with CountingServer(lambda body: Reply("no", status=status)) as up:
        path = system(tmp_path, "s", voted(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as server:
            answers = [ask(server.port, {**ASK, "model": model}) for model in ("archon/s", "m")]
    assert [answer.status for answer in answers] == [told, status], "what is passed through keeps its own"
    assert all(answer.error["type"] == "server_error" for answer in answers)


def test_an_upstreams_code_and_param_are_passed_on(tmp_path: Path) -> None:
    raw = b'{"error": {"message": "too long", "type": "invalid_request_error", "param": "messages", "code": "x_y"}}'
    with CountingServer(lambda body: Reply(raw=raw, status=400)) as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as server:
            error = ask(server.port, {**ASK, "model": "m"}).error
    assert (error["param"], error["code"]) == ("messages", "x_y")
    assert "too long" in error["message"]


def test_an_error_that_comes_with_200_is_an_error(tmp_path: Path) -> None:
    raw = b'{"error": {"message": "overloaded", "code": 529}}'
    with CountingServer(lambda body: Reply(raw=raw)) as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as server:
            answers = [ask(server.port, {**ASK, "model": model}) for model in ("archon/s", "m")]
    assert [answer.status for answer in answers] == [503, 503]
    assert all("overloaded" in answer.error["message"] for answer in answers)


@pytest.mark.parametrize("model", ["archon/s", "m"])
def test_messages_and_answers_are_bounded(tmp_path: Path, model: str) -> None:
    with CountingServer() as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,), max_messages=3, max_n=2)) as server:
            long = ask(server.port, {"model": model, "messages": ASK["messages"] * 4})
            many = ask(server.port, {**ASK, "model": model, "n": 3})
        assert up.total == 0
    assert [(each.status, each.error["param"]) for each in (long, many)] == [(400, "messages"), (400, "n")]


def test_the_upstreams_key_is_in_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "sk-very-secret-0123456789"
    monkeypatch.setenv("UP_KEY", secret)
    with CountingServer(lambda body: Reply(f"Incorrect API key provided: {secret}", status=401)) as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint, key_env="UP_KEY")])
        with Serving(Settings(files=(path,))) as server:
            for model in ("archon/s", "m"):
                answer = ask(server.port, {**ASK, "model": model})
                assert answer.status == 401
                assert secret.encode() not in answer.body
    assert all(headers["Authorization"] == f"Bearer {secret}" for headers in up.headers)


def test_a_clients_own_key_is_never_sent_upstream(tmp_path: Path) -> None:
    with CountingServer() as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as server:
            for model in ("archon/s", "m"):
                ask(server.port, {**ASK, "model": model}, headers={"Authorization": "Bearer mine"})
    assert all("Authorization" not in headers for headers in up.headers)


def test_what_was_paid_for_before_it_failed_is_not_to_be_repeated(tmp_path: Path) -> None:
    """Three drafts are paid, the fuser fails: an official client would repeat a 502 twice."""

    def reply(body: Body) -> Reply:
        return Reply("draft") if len(body["messages"]) == 1 else Reply("no", status=500)

    with CountingServer(reply) as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as server:
            spent = ask(server.port, ASK)
    with CountingServer(lambda body: Reply("no", status=500)) as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as server:
            free = ask(server.port, ASK)
    assert (spent.status, spent.headers["x-should-retry"]) == (502, "false")
    assert (free.status, free.headers.get("x-should-retry")) == (502, None)


def test_an_answer_that_breaks_the_form_asked_for_is_an_error(tmp_path: Path) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "required": ["a"]}}}
    with CountingServer(lambda body: '{"b": 1}') as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as server:
            broken = ask(server.port, {**ASK, "response_format": form})
            plain_json = ask(server.port, {**ASK, "response_format": {"type": "json_object"}})
    assert (broken.status, broken.error["code"]) == (502, "response_format_not_met")
    assert broken.headers["x-should-retry"] == "false"
    assert plain_json.status == 200


@pytest.mark.parametrize("answer", ["[" * 65 + "]" * 65, '{"a": NaN}'])
def test_an_answer_that_cannot_be_held_against_the_form_is_an_error(tmp_path: Path, answer: str) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"additionalProperties": {"type": "null"}}}}
    with CountingServer(lambda body: answer if body.get("response_format") else "draft") as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as server:
            broken = ask(server.port, {**ASK, "response_format": form})
    assert (broken.status, broken.error["code"]) == (502, "response_format_not_met")


def test_an_answer_too_long_to_be_checked_is_an_error() -> None:
    asked = Ask((), response_format={"type": "json_object"})
    whole = Message("assistant", '{"a": "' + "x" * MOST_TEXT + '"}')
    with pytest.raises(ApiError, match="longer than"):
        check_answer(whole, "stop", asked, Steps())
    check_answer(whole, "length", asked, Steps())


def test_a_candidate_that_has_the_form_is_taken_in_the_place_of_one_that_has_not(tmp_path: Path) -> None:
    """Of a ranker's three answers the second is the first that is JSON."""
    replies = [Reply("prose"), Reply('{"a": 1}'), Reply("prose"), Reply("RANKING: 1 > 2 > 3")]
    nodes: list[Json] = [
        {"id": "drafts", "layer": "generator", "model": "m", "params": {"samples": 3}},
        {"id": "rank", "layer": "ranker", "model": "m", "inputs": ["drafts"]},
    ]
    with CountingServer(script=replies) as up:
        path = system(tmp_path, "s", nodes, [upstream(up.endpoint, limits={"in_flight": 1})])
        with Serving(Settings(files=(path,))) as server:
            answer = ask(server.port, {**ASK, "response_format": {"type": "json_object"}})
    assert answer.json["choices"][0]["message"]["content"] == '{"a": 1}'


def test_routes_that_are_not_there_have_the_envelope(tmp_path: Path) -> None:
    with CountingServer() as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as server:
            missing = ask(server.port, {}, "/v1/embeddings")
            method = ask(server.port, {}, "/v1/chat/completions", method="GET")
            traversal = ask(server.port, {}, "/v1/models/../../etc/passwd", method="GET")
    assert (missing.status, method.status, traversal.status) == (404, 405, 404)
    for each in (missing, method, traversal):
        assert each.error["type"] == "invalid_request_error"
        assert each.headers["x-request-id"]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"null", b'{"model": 5}', b"{}", b'{"model": null}'])
def test_a_body_that_is_no_request_is_a_400(tmp_path: Path, body: bytes) -> None:
    with CountingServer() as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as server:
            for route in ("/v1/chat/completions", "/v1/completions", "/v1/responses"):
                assert ask(server.port, body, route).error["type"] == "invalid_request_error"


def test_a_fault_of_this_program_tells_no_more_than_its_class() -> None:
    told = from_error(ValueError("with a secret inside"))
    assert told.status == 500
    assert "secret" not in str(told)
    assert told.retry is False


def test_causes_of_one_kind_decide_the_status_and_mixed_ones_do_not() -> None:
    limited = ClientError("a", status=429, retry_after=3.0)
    longer = ClientError("b", status=429, retry_after=9.0)
    other = ClientError("c", status=400)
    alike = from_error(RunError("no answer", [limited, longer]))
    assert (alike.status, alike.retry_after) == (429, 9.0)
    assert from_error(RunError("no answer", [limited, other])).status == 502
    assert from_error(ConfigError("x")).status == 400
