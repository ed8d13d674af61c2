"""The most that a passed-through request can cost: no spelling of a request makes it smaller than what it asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from archon.clients.bounds import IMAGE_TOKENS
from archon.clients.openai import OpenAIClient
from archon.models import ModelSpec
from archon.proxy.ceiling import worst_case
from archon.proxy.errors import ApiError
from tests.proxy.serving import Json
from tests.proxy.test_passthrough import ASK, Keyed
from tests.proxy.wire import ask
from tests.servers import CountingServer

TEXT: Json = {"type": "text", "text": "look"}
IMAGE: Json = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
FILE: Json = {"type": "file", "file": {"file_id": "f"}}


def ceiling(body: bytes, *, bounded: bool = True) -> tuple[int, int]:
    client = OpenAIClient(ModelSpec(id="m", endpoint="http://127.0.0.1:9/v1"))
    return worst_case(body, json.loads(body), client, bounded)


def of(content: Any, **more: Any) -> bytes:
    return json.dumps({**ASK, "messages": [{"role": "user", "content": content}], **more}).encode()


def test_every_answer_that_is_asked_for_counts() -> None:
    assert ceiling(of("q"))[1] == 4096
    assert ceiling(of("q", max_tokens=10, n=3))[1] == 30
    assert ceiling(of("q", max_tokens=10, best_of=5, n=2))[1] == 50
    assert ceiling(of("q", max_tokens=10, max_completion_tokens=700))[1] == 700
    assert ceiling(of("q"))[0] >= len(of("q"))


def test_images_are_counted_however_their_names_are_spelled() -> None:
    plain = of([TEXT, IMAGE, IMAGE])
    escaped = plain.replace(b"image_url", b"image\\u005furl")
    alone = ceiling(of([TEXT]))[0]
    assert json.loads(plain) == json.loads(escaped)
    for body in (plain, escaped):
        assert alone + 2 * IMAGE_TOKENS <= ceiling(body)[0] < alone + 2 * IMAGE_TOKENS + len(body)
    words = of("the words image_url, image_url")
    assert ceiling(words)[0] < IMAGE_TOKENS, "text is no image"


@pytest.mark.parametrize("part", [FILE, {"type": "input_audio"}, {"image_url": "u"}, {"type": ["text"]}, 7, None])
def test_a_part_that_nothing_bounds_needs_a_key_without_a_budget(part: object) -> None:
    body = of([TEXT, part])
    with pytest.raises(ApiError, match="nothing bounds") as refused:
        ceiling(body)
    assert (refused.value.status, refused.value.param) == (400, "messages")
    assert ceiling(body, bounded=False)[1] == 4096


def test_a_lone_part_is_a_part() -> None:
    with pytest.raises(ApiError, match="nothing bounds"):
        ceiling(of(FILE))
    assert ceiling(of(IMAGE))[0] > IMAGE_TOKENS


@pytest.mark.parametrize("messages", ["words", {"role": "user"}, [["user", "q"]], None])
def test_with_a_budget_messages_must_be_a_list_of_objects(messages: object) -> None:
    body = json.dumps({"model": "m", "messages": messages}).encode()
    with pytest.raises(ApiError, match="messages: "):
        ceiling(body)
    assert ceiling(body, bounded=False)[1] == 4096


def test_a_count_that_is_no_count_is_refused_before_any_call(tmp_path: Path) -> None:
    names = ("max_tokens", "max_completion_tokens", "n", "best_of")
    values = ("100000", 100000.0, 16.0, "16", -1, 0, True, 10**400, [1])
    with CountingServer() as up, Keyed(tmp_path, up.endpoint, usd_per_day=10_000_000) as keyed:
        told = {(name, index): keyed.ask(**{name: value}) for name in names for index, value in enumerate(values)}
        assert up.total == 0
        assert keyed.spent().held_micro_usd == 0
    assert {(each.status, each.error["param"] == name) for (name, _), each in told.items()} == {(400, True)}


def test_a_count_that_is_null_is_none(tmp_path: Path) -> None:
    with CountingServer() as up, Keyed(tmp_path, up.endpoint, usd_per_day=10_000_000) as keyed:
        assert keyed.ask(max_tokens=None, n=None).status == 200
        assert up.bodies[0]["max_tokens"] == 4096


def test_the_ledger_holds_an_image_whatever_its_spelling(tmp_path: Path) -> None:
    # A day of 0.04 dollars: an image of at most 50,000 tokens at 1 dollar a million does not fit.
    body = of([IMAGE], max_tokens=10).replace(b"image_url", b"image\\u005furl")
    with CountingServer() as up, Keyed(tmp_path, up.endpoint, usd_per_day=40_000) as keyed:
        refused = ask(keyed.server.port, body, headers=keyed.headers)
        assert up.total == 0
        assert keyed.ask(max_tokens=10).status == 200
    assert (refused.status, refused.error["code"]) == (429, "insufficient_quota")


def test_streams_options_of_another_kind_are_refused_before_any_call(tmp_path: Path) -> None:
    from tests.proxy.serving import upstream

    with CountingServer() as up:
        row = upstream(up.endpoint, options={"include_usage": False})
        with Keyed(tmp_path, up.endpoint, row) as keyed:
            answer = keyed.ask(stream=True, stream_options="all")
        assert up.total == 0
    assert (answer.status, answer.error["param"]) == (400, "stream_options")
