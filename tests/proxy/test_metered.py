"""The books of an architecture's calls: every attempt that may have been billed is in them, and none twice."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from archon.proxy.book import Total
from archon.proxy.keys import open_store
from archon.proxy.ledger import day_of, totals_of
from archon.proxy.settings import Settings
from tests.proxy.serving import Json, Serving, fused, system, upstream
from tests.proxy.wire import ask
from tests.servers import CountingServer, Reply

ASK: Json = {"model": "archon/s", "messages": [{"role": "user", "content": "q"}], "max_tokens": 10}
USAGE = {"prompt_tokens": 7, "completion_tokens": 3}
BILL = 7 * 1 + 3 * 2  # micro-dollars: the row's prices are 1 and 2 dollars per million tokens


def booked(folder: Path, script: list[Reply], *, cache: bool = False, asked: int = 1) -> Total:
    """The ledger after requests to one generator and a fuser, each a call that may be tried three times."""
    store = str(folder / "proxy.db")
    secret, record = open_store(store).create("ann", usd_per_day=10**9)
    with CountingServer(lambda body: Reply("answer", usage=USAGE), script=script) as up:
        row = upstream(up.endpoint, retries=2, max_tokens=10)
        path = system(folder, "s", fused(samples=1), [row])
        with Serving(Settings(files=(path,), store=store, cache=folder if cache else None)) as server:
            for _ in range(asked):
                found = ask(server.port, {**ASK, "seed": 1}, headers={"authorization": f"Bearer {secret}"})
                assert found.status == 200, found.body
    total = totals_of(store, day_of(time.time()))[record.id]
    assert (total.held_micro_usd, total.held_tokens) == (0, 0)
    return total


def test_calls_that_succeed_are_charged_what_they_cost(tmp_path: Path) -> None:
    total = booked(tmp_path, [])
    assert (total.spent_micro_usd, total.flagged_micro_usd, total.requests) == (2 * BILL, 0, 2)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_attempt_that_the_upstream_refused_costs_nothing(tmp_path: Path, status: int) -> None:
    total = booked(tmp_path, [Reply(status=status, headers={"Retry-After": "0"})])
    assert (total.spent_micro_usd, total.flagged_micro_usd) == (2 * BILL, 0)


def test_an_attempt_whose_answer_was_lost_is_charged_its_worst_case_beside_the_one_that_succeeds(
    tmp_path: Path,
) -> None:
    total = booked(tmp_path, [Reply(drop=True)])
    assert total.flagged_micro_usd > BILL
    assert total.spent_micro_usd == 2 * BILL + total.flagged_micro_usd
    assert total.requests == 3


def test_an_answer_from_the_cache_is_not_in_the_books(tmp_path: Path) -> None:
    total = booked(tmp_path, [], cache=True, asked=3)
    assert (total.spent_micro_usd, total.requests) == (2 * BILL, 2)


@pytest.mark.parametrize("usage", [{"prompt_tokens": 7, "completion_tokens": -1000}, {"prompt_tokens": -7}, {}])
def test_a_usage_that_no_model_can_have_is_charged_its_worst_case(tmp_path: Path, usage: dict[str, int]) -> None:
    total = booked(tmp_path, [Reply("answer", usage=usage)])
    assert total.flagged_micro_usd > BILL
    assert total.spent_micro_usd == BILL + total.flagged_micro_usd
