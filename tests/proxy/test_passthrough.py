"""A plain model is passed through: bytes as they are, the table's word kept, the ledger right to the micro-dollar."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from archon.proxy.book import Total
from archon.proxy.keys import open_store
from archon.proxy.settings import Settings
from tests.proxy.serving import Json, Serving, fused, system, upstream
from tests.proxy.test_streaming import until
from tests.proxy.wire import Answer, Stream, ask
from tests.servers import CountingServer, Reply

ASK: Json = {"model": "m", "messages": [{"role": "user", "content": "q"}]}
BILL = 7 * 1 + 3 * 2
"""Micro-dollars of one call: 7 prompt tokens at 1, 3 answer tokens at 2 dollars a million."""


class Keyed:
    """A server with one key."""

    def __init__(self, folder: Path, endpoint: str, row: Json | None = None, **limits: int) -> None:
        self.store = folder / "proxy.db"
        keys = open_store(str(self.store))
        self.secret, self.record = keys.create("team", **limits)
        keys.close()
        path = system(folder, "s", fused(), [row or upstream(endpoint)])
        self.server = Serving(Settings(files=(path,), store=str(self.store)))

    def __enter__(self) -> Keyed:
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()

    @property
    def headers(self) -> dict[str, str]:
        """With the key."""
        return {"Authorization": f"Bearer {self.secret}"}

    def ask(self, **body: Any) -> Answer:
        """One chat completion."""
        return ask(self.server.port, {**ASK, **body}, headers=self.headers)

    def spent(self) -> Total:
        """The key's day, as the book says."""
        from archon.proxy.ledger import open_book

        async def inner() -> Total:
            from archon.proxy.ledger import Ledger

            ledger = Ledger(open_book(str(self.store)))
            try:
                return await ledger.spent_today(self.record.id)
            finally:
                await ledger.aclose()

        return asyncio.run(inner())


def test_the_upstreams_bytes_are_the_answer(tmp_path: Path) -> None:
    raw = b'{ "choices" : [], "odd":1.50,  "usage":{"prompt_tokens":7,"completion_tokens":3} }'
    with CountingServer(lambda body: Reply(raw=raw)) as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as server:
            assert ask(server.port, ASK).body == raw


def test_the_upstream_is_asked_by_its_own_name_and_with_the_tables_defaults(tmp_path: Path) -> None:
    with CountingServer() as up:
        row = upstream(up.endpoint, name="provider-m", max_tokens=50, options={"body": {"top_k": 3}})
        row["options"]["max_tokens_field"] = "max_completion_tokens"
        path = system(tmp_path, "s", fused(), [row])
        with Serving(Settings(files=(path,))) as server:
            ask(server.port, ASK)
            ask(server.port, {**ASK, "max_tokens": 9, "odd_field": [1], "top_k": 5})
    first, second = up.bodies
    assert first == {**ASK, "model": "provider-m", "max_completion_tokens": 50, "top_k": 3}
    assert second == {**ASK, "model": "provider-m", "max_completion_tokens": 9, "top_k": 5, "odd_field": [1]}


@pytest.mark.parametrize("model", ["m", "archon/s"])
@pytest.mark.parametrize("stream", [False, True])
def test_the_ledger_equals_the_upstreams_count(tmp_path: Path, model: str, stream: bool) -> None:
    calls = {"m": 1, "archon/s": 4}[model]
    with CountingServer() as up, Keyed(tmp_path, up.endpoint, usd_per_day=1_000_000, tokens_per_day=100_000) as keyed:
        assert keyed.ask(model=model, stream=stream, max_tokens=20).status == 200
        until(lambda: keyed.spent().held_micro_usd == 0)
        total = keyed.spent()
        assert up.total == calls
    assert (total.spent_micro_usd, total.spent_tokens) == (BILL * calls, 10 * calls)
    assert (total.held_micro_usd, total.flagged_micro_usd) == (0, 0)


@pytest.mark.parametrize("model", ["m", "archon/s"])
def test_a_key_without_room_is_refused_before_any_call(tmp_path: Path, model: str) -> None:
    with CountingServer() as up, Keyed(tmp_path, up.endpoint, usd_per_day=5) as keyed:
        answer = keyed.ask(model=model)
        assert up.total == 0
    assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("model", ["m", "archon/s"])
def test_a_key_with_a_budget_bounds_every_answer(tmp_path: Path, model: str) -> None:
    with CountingServer() as up, Keyed(tmp_path, up.endpoint, tokens_per_day=1_000_000) as keyed:
        assert keyed.ask(model=model).status == 200
        assert all(body["max_tokens"] == 4096 for body in up.bodies)


@pytest.mark.parametrize("model", ["m", "archon/s"])
def test_a_budget_in_dollars_needs_a_price(tmp_path: Path, model: str) -> None:
    with CountingServer() as up:
        row = upstream(up.endpoint, price=None)
        with Keyed(tmp_path, up.endpoint, row, usd_per_day=1_000_000) as keyed:
            answer = keyed.ask(model=model)
        assert up.total == 0
    assert answer.status == 403
    assert "price" in answer.error["message"]


@pytest.mark.parametrize("model", ["m", "archon/s"])
def test_requests_a_minute_count_requests_and_not_calls(tmp_path: Path, model: str) -> None:
    with CountingServer() as up, Keyed(tmp_path, up.endpoint, requests_per_minute=1) as keyed:
        answers = [keyed.ask(model=model) for _ in range(2)]  # the next one is granted after a whole minute
    assert [answer.status for answer in answers] == [200, 429]
    assert answers[1].error["code"] == "rate_limit_exceeded"


def test_a_stream_that_its_client_leaves_is_charged_its_worst_case_flagged(tmp_path: Path) -> None:
    with CountingServer(lambda body: Reply("a b c d", between=0.3)) as up, Keyed(tmp_path, up.endpoint) as keyed:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", keyed.server.port)
        data = json.dumps({**ASK, "stream": True, "max_tokens": 20})
        connection.request("POST", "/v1/chat/completions", data, keyed.headers)
        response = connection.getresponse()
        response.readline()
        sock = connection.sock
        response.close()
        if sock is not None:
            sock.close()
        connection.close()
        assert until(lambda: up.under_way == 0)
        assert until(lambda: keyed.spent().spent_micro_usd > 0)
        total = keyed.spent()
    assert total.flagged_micro_usd == total.spent_micro_usd > BILL
    assert total.held_micro_usd == 0


def test_a_refusal_of_the_upstream_costs_nothing(tmp_path: Path) -> None:
    with (
        CountingServer(lambda body: Reply("no", status=429)) as up,
        Keyed(tmp_path, up.endpoint, usd_per_day=1_000_000) as keyed,
    ):
        assert [keyed.ask(model=model).status for model in ("m", "archon/s")] == [429, 429]
        assert until(lambda: keyed.spent().held_micro_usd == 0)
        assert keyed.spent().spent_micro_usd == 0


def test_a_models_limit_on_calls_at_once_holds_for_both_ways(tmp_path: Path) -> None:
    import threading

    with CountingServer(latency=0.3) as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint, limits={"in_flight": 2})])
        with Serving(Settings(files=(path,))) as server:
            bodies = [{**ASK, "model": model} for model in ("m", "m", "m", "archon/s")]
            threads = [threading.Thread(target=ask, args=(server.port, body)) for body in bodies]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert up.total == 7
        assert up.peak == 2


def test_a_stream_of_an_upstream_that_tells_no_usage_keeps_the_worst_case(tmp_path: Path) -> None:
    with CountingServer(lambda body: Reply("a b", usage=None)) as up, Keyed(tmp_path, up.endpoint) as keyed:
        assert keyed.ask(stream=True, max_tokens=20).status == 200
        assert until(lambda: keyed.spent().flagged_micro_usd > 0)


def test_a_plain_stream_has_its_usage_where_asked_for(tmp_path: Path) -> None:
    with CountingServer() as up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        body = {**ASK, "stream": True, "stream_options": {"include_usage": True}}
        with Serving(Settings(files=(path,))) as server, Stream(server.port, body) as stream:
            *_, last, done = stream.events()
    assert last["usage"] == {"prompt_tokens": 7, "completion_tokens": 3}
    assert done == "[DONE]"
