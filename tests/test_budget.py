"""Budgets: never exceeded, never hanging, honest about what is unknown."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archon.amounts import Amount, micro_usd
from archon.budget import Budget, Reservation
from archon.errors import BudgetError, ConfigError, DeadlineError
from archon.journal import Journal
from archon.types import Usage


def bill(tokens: int = 0, usd: float | None = 0.0, calls: int = 1) -> Usage:
    return Usage(calls, tokens, cost_usd=usd)


@pytest.mark.parametrize(
    ("usd", "micro"),
    [(0.0, 0), (1e-6, 1), (1.1e-6, 2), (0.000003, 3), (1e-9, 1), (0.1 + 0.2, 300_000), (2.5, 2_500_000)],
)
def test_micro_dollars_are_rounded_up_and_float_noise_is_not(usd: float, micro: int) -> None:
    # 0.1 + 0.2 = 0.30000000000000004: the 4e-17 is noise, not another micro-dollar
    assert micro_usd(usd) == micro


@pytest.mark.parametrize("bad", [{"calls": -1}, {"usd": float("nan")}, {"tokens": float("inf")}, {"seconds": -0.1}])
def test_a_senseless_bound_is_a_config_error_that_names_it(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        Budget(**bad)  # type: ignore[arg-type]


async def test_a_settled_call_frees_what_it_did_not_use() -> None:
    budget = Budget(tokens=100)
    reservation = await budget.reserve(1, 90, 0, "a call")
    assert (budget.reserved.tokens, budget.spent.tokens) == (90, 0)
    reservation.settle(bill(30))
    assert (budget.reserved.tokens, budget.spent.tokens) == (0, 30)
    assert (await budget.reserve(1, 70, 0, "a call")).want.tokens == 70  # 30 + 70 = 100: exactly full is not over


async def test_a_call_waits_while_calls_under_way_may_free_room() -> None:
    budget = Budget(tokens=100)
    first = await budget.reserve(1, 80, 0, "first")
    second = asyncio.create_task(budget.reserve(1, 60, 0, "second"))
    await asyncio.sleep(0)
    assert not second.done()  # 80 reserved + 60 > 100, but the first may turn out cheap
    first.settle(bill(40))
    assert (await second).want.tokens == 60  # 40 + 60 = 100


async def test_a_call_that_waits_is_refused_when_the_room_is_really_gone() -> None:
    budget = Budget(tokens=100)
    first = await budget.reserve(1, 80, 0, "first")
    second = asyncio.create_task(budget.reserve(1, 60, 0, "second"))
    await asyncio.sleep(0)
    first.settle(bill(41))
    with pytest.raises(BudgetError, match="second"):  # 41 + 60 = 101
        await second


async def test_a_refusal_names_what_was_reserved_and_what_was_left() -> None:
    budget = Budget(calls=10, usd=1.0)
    (await budget.reserve(1, 5, 300_000, "a")).settle(bill(5, 0.25))
    held = await budget.reserve(1, 5, 500_000, "b")
    with pytest.raises(BudgetError) as refused:
        await budget.reserve(1, 5, 800_000, "a call of 'gpt'")
    assert str(refused.value) == (
        "budget: refused a call of 'gpt': it would reserve 0.800000 USD, 0.750000 of 1.000000 USD are left "
        "(0.250000 spent, 0.500000 reserved by calls under way)"
    )
    held.release()


async def test_an_unknown_bill_keeps_its_worst_case_and_is_flagged() -> None:
    budget = Budget(tokens=100)
    (await budget.reserve(1, 60, 7, "a call")).keep()
    assert budget.spent == budget.unsettled == Amount(1, 60, 7)
    with pytest.raises(BudgetError):
        await budget.reserve(1, 41, 0, "a call")


async def test_a_reservation_ends_once() -> None:
    budget = Budget(tokens=100)
    reservation = await budget.reserve(1, 60, 0, "a call")
    reservation.settle(bill(10))
    reservation.keep()
    reservation.release()
    assert (budget.spent.tokens, budget.unsettled.tokens, budget.reserved.tokens) == (10, 0, 0)


async def test_an_unknown_cost_keeps_the_worst_case_in_dollars() -> None:
    budget = Budget(usd=1.0)
    (await budget.reserve(1, 0, 400_000, "a call")).settle(bill(10, None))
    assert budget.spent.micro_usd == 400_000


async def test_an_unpriced_call_makes_the_sum_unknown_and_is_refused_by_a_usd_budget() -> None:
    free = Budget(calls=3)
    (await free.reserve(1, 0, None, "a call")).settle(bill(10, None))
    assert free.spent.cost_usd is None
    with pytest.raises(BudgetError, match="no known price"):
        await Budget(usd=1.0).reserve(1, 0, None, "a call")


async def test_a_large_call_is_not_starved_by_small_ones_that_come_later() -> None:
    budget = Budget(tokens=100)
    held = [await budget.reserve(1, 20, 0, "held") for _ in range(5)]
    order: list[str] = []

    async def want(tokens: int, name: str) -> None:
        reservation = await budget.reserve(1, tokens, 0, name)
        order.append(name)
        reservation.release()

    tasks = [asyncio.create_task(want(90, "large")), *(asyncio.create_task(want(10, "small")) for _ in range(4))]
    for reservation in held:
        await asyncio.sleep(0)
        assert (
            "small" not in order
        )  # 20 free after one release: a small one would fit, and would push the large one back
        reservation.release()
    await asyncio.gather(*tasks)
    assert order == ["large", "small", "small", "small", "small"]


async def test_one_run_that_waits_on_its_own_budget_does_not_hold_up_another() -> None:
    parent = Budget(tokens=1000)
    narrow, wide = Budget(tokens=50, parent=parent), Budget(tokens=500, parent=parent)
    held = await narrow.reserve(1, 50, 0, "narrow")
    waiting = asyncio.create_task(narrow.reserve(1, 50, 0, "narrow again"))
    await asyncio.sleep(0)
    other = await asyncio.wait_for(wide.reserve(1, 100, 0, "wide"), 1)
    assert not waiting.done()
    held.release()
    other.release()
    (await waiting).release()


async def test_a_parent_pays_along_and_refuses_for_all() -> None:
    parent = Budget(calls=2)
    first, second = Budget(parent=parent), Budget(calls=5, parent=parent)
    (await first.reserve(1, 0, 0, "a")).settle(bill())
    (await second.reserve(1, 0, 0, "b")).settle(bill())
    assert (parent.spent.calls, first.spent.calls, second.spent.calls) == (2, 1, 1)
    with pytest.raises(BudgetError, match="0 of 2 calls are left"):
        await second.reserve(1, 0, 0, "c")


async def test_a_cancelled_waiter_leaves_the_queue_and_lets_the_next_one_in() -> None:
    budget = Budget(tokens=100)
    held = await budget.reserve(1, 60, 0, "held")
    large = asyncio.create_task(budget.reserve(1, 90, 0, "large"))
    small = asyncio.create_task(budget.reserve(1, 40, 0, "small"))
    await asyncio.sleep(0)
    large.cancel()
    assert (await asyncio.wait_for(small, 1)).want.tokens == 40
    held.release()


async def test_a_waiter_cancelled_in_the_instant_it_is_granted_gives_its_room_back() -> None:
    budget = Budget(tokens=100)
    held = await budget.reserve(1, 100, 0, "held")
    waiter = asyncio.create_task(budget.reserve(1, 100, 0, "waiter"))
    await asyncio.sleep(0)
    held.release()  # grants the waiter, which has not run yet
    assert budget.reserved.tokens == 100
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert budget.reserved == Amount()


async def test_seconds_refuse_and_end_a_wait() -> None:
    over = Budget(seconds=0)
    with pytest.raises(DeadlineError, match="0 seconds"):
        await over.reserve(1, 0, 0, "a call")
    short = Budget(tokens=10, seconds=0.05)
    held = await short.reserve(1, 10, 0, "held")
    with pytest.raises(DeadlineError):
        await short.reserve(1, 10, 0, "waits for ever")
    held.release()
    assert short.reserved == Amount()


def test_the_deadline_is_the_earliest_of_the_chain() -> None:
    parent = Budget(seconds=5)
    child = Budget(seconds=100, parent=parent)
    assert child.deadline == parent.deadline
    assert child.within(parent)
    assert not parent.within(child)
    assert Budget().deadline is None


async def test_a_bill_above_its_worst_case_is_counted_truly_and_said() -> None:
    budget = Budget(tokens=100)
    (await budget.reserve(1, 50, 0, "a call")).settle(bill(70))
    assert (budget.spent.tokens, budget.overruns) == (70, 1)


# --- the journal: resume ---------------------------------------------------------------------------------------------


async def test_a_resumed_budget_counts_what_was_spent_and_what_was_under_way_when_it_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "run" / "budget.jsonl"
    journal = Journal(path)
    budget = Budget(calls=10, tokens=100, journal=journal)
    (await budget.reserve(1, 40, 9, "a")).settle(bill(20, 0.000005))
    (await budget.reserve(1, 30, 9, "b")).keep()
    await budget.reserve(1, 25, 9, "c")  # killed here: neither settled nor released
    journal.close()
    journal = Journal(path)
    resumed = Budget(calls=10, tokens=100, journal=journal)
    assert resumed.spent == Amount(3, 75, 23)  # calls 3; tokens 20 + 30 + 25; micro-dollars 5 + 9 + 9
    assert resumed.unsettled == Amount(2, 55, 18)
    journal.close()
    again = Budget(calls=10, tokens=100, journal=Journal(path))
    assert again.spent == resumed.spent  # a second resume counts nothing twice
    with pytest.raises(BudgetError):
        await again.reserve(1, 26, 0, "d")


async def test_a_torn_line_is_skipped_and_the_lines_after_it_are_read(tmp_path: Path) -> None:
    path = tmp_path / "budget.jsonl"
    journal = Journal(path)
    (await Budget(journal=journal).reserve(1, 40, 0, "a")).settle(bill(20))
    journal.close()
    with path.open("a") as file:
        file.write('["r", "torn')
    journal = Journal(path)
    budget = Budget(journal=journal)
    assert budget.spent.tokens == 20
    (await budget.reserve(1, 5, 0, "b")).settle(bill(5))
    journal.close()
    assert Budget(journal=Journal(path)).spent.tokens == 25


async def test_a_closed_journal_refuses_calls_it_could_not_remember(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "budget.jsonl")
    budget = Budget(tokens=10, journal=journal)
    held = await budget.reserve(1, 10, 0, "a")
    waiting = asyncio.create_task(budget.reserve(1, 10, 0, "b"))
    await asyncio.sleep(0)
    journal.close()
    journal.close()
    held.release()
    with pytest.raises(BudgetError, match="cannot be written"):
        await waiting
    with pytest.raises(BudgetError, match="cannot be written"):
        await budget.reserve(1, 1, 0, "c")
    assert budget.reserved == Amount()


def test_a_journal_has_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "budget.jsonl"
    first = Journal(path)
    with pytest.raises(ConfigError, match=r"budget journal .*budget\.jsonl: another run is writing it; wait"):
        Journal(path)
    first.close()
    Journal(path).close()


def test_a_journal_that_cannot_be_opened_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be opened"):
        Journal(tmp_path)


async def test_the_journal_holds_numbers_and_names_only(tmp_path: Path) -> None:
    path = tmp_path / "budget.jsonl"
    (await Budget(journal=Journal(path)).reserve(1, 40, 3, "a call of 'm'")).settle(bill(20))
    kinds = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row[0], row[2:]) for row in kinds] == [("r", [1, 40, 3, 0, "a call of 'm'"]), ("s", [1, 20, 0, 0, True])]
    assert path.stat().st_mode & 0o077 == 0


# --- random schedules
# --------------------------------------------------------------------------------------------------

ENDS = ("settle", "keep", "release")


async def _schedule(seed: int, calls: int | None, tokens: int, micro: int, runs: int) -> None:
    """Many runs under one budget, each with its own; every check is made at every step."""
    parent = Budget(calls, tokens, micro / 1e6)

    def check() -> None:
        amount = parent.spent + parent.reserved
        assert calls is None or amount.calls <= calls
        assert amount.tokens <= tokens
        assert amount.micro_usd <= micro
        assert min(parent.reserved.fields()) >= 0

    async def call(budget: Budget, choice: random.Random) -> None:
        worst, cost = choice.randint(1, 40), choice.randint(0, 30)
        try:
            reservation: Reservation = await budget.reserve(1, worst, cost, "a call")
        except BudgetError:
            return
        check()
        end, part = choice.choice(ENDS), choice.random()
        try:
            for _ in range(choice.randint(0, 3)):
                await asyncio.sleep(0)
            if end == "settle":
                reservation.settle(bill(int(worst * part), int(cost * part) / 1e6))
            if end == "release":
                reservation.release()
        finally:
            reservation.keep()  # what else has not ended it: an unknown bill, a cancellation
        check()

    async def run(number: int) -> None:
        choice = random.Random(seed * 1000 + number)
        own = Budget(tokens=choice.choice([None, 60, 400]), parent=parent)
        group = [asyncio.create_task(call(own, random.Random(choice.random()))) for _ in range(6)]
        if choice.random() < 0.3:
            await asyncio.sleep(0)
            choice.choice(group).cancel()
        await asyncio.gather(*group, return_exceptions=True)

    await asyncio.wait_for(asyncio.gather(*(run(number) for number in range(runs))), 20)
    check()
    assert not parent._queue


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    calls=st.one_of(st.none(), st.integers(0, 60)),
    tokens=st.integers(0, 900),
    micro=st.integers(0, 900),
)
def test_random_schedules_never_exceed_and_never_hang(seed: int, calls: int | None, tokens: int, micro: int) -> None:
    asyncio.run(_schedule(seed, calls, tokens, micro, runs=12))


def test_64_runs_at_once_stay_within_the_budget() -> None:
    asyncio.run(_schedule(1, 150, 2000, 1500, runs=64))


async def test_thousands_of_waiters_are_all_served_in_order() -> None:
    budget = Budget(tokens=100)
    held = await budget.reserve(1, 100, 0, "held")
    served: list[int] = []

    async def one(number: int) -> None:
        reservation = await budget.reserve(1, 100, 0, "one")
        served.append(number)
        reservation.release()

    tasks = [asyncio.create_task(one(number)) for number in range(2000)]
    await asyncio.sleep(0)
    held.release()
    await asyncio.wait_for(asyncio.gather(*tasks), 60)
    assert served == list(range(2000))
    assert budget.reserved == Amount()
