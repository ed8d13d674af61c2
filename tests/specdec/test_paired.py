"""What the times of two systems on the same blocks say of one another."""

from __future__ import annotations

import pytest

from specdec.paired import Cells, counted, counted_ratio, ratio, speed
from specdec.threshold import Costs


def cells(*repetitions: list[float], tokens: int = 10) -> Cells:
    made = Cells()
    for number, seconds in enumerate(repetitions):
        for each in seconds:
            made.add(number, each, tokens)
    return made


def test_speed_is_the_median_repetitions_tokens_by_seconds() -> None:
    found = speed(cells([1.0, 1.0], [2.0, 2.0], [4.0, 0.0 + 4.0]))
    assert found.median == pytest.approx(5.0)
    assert found.low <= found.median <= found.high


def test_a_machine_that_slows_down_for_both_leaves_the_ratio_alone() -> None:
    slow, fast = cells([2.0, 6.0, 2.0, 20.0]), cells([1.0, 3.0, 1.0, 10.0])
    found = ratio(fast, slow)
    assert (found.median, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))


def test_blocks_that_differ_widen_the_interval_of_a_ratio() -> None:
    found = ratio(cells([1.0, 1.0, 1.0, 1.0]), cells([1.0, 2.0, 3.0, 2.0]))
    assert found.median == pytest.approx(2.0)
    assert found.low < 2.0 < found.high


def test_of_a_single_block_the_repetitions_are_drawn_anew() -> None:
    found = ratio(cells([1.0], [1.0], [1.0]), cells([1.0], [2.0], [3.0]))
    assert found.median == pytest.approx(2.0)
    assert found.low < found.high


def test_decoding_alone_leaves_out_what_the_target_took_to_read_prompts() -> None:
    fast, slow = Cells(), Cells()
    for number in range(3):
        fast.add(number, 3.0, 10, reading=2.0)
        slow.add(number, 7.0, 10, reading=2.0)
    assert speed(fast).median == pytest.approx(10 / 3)
    assert speed(fast, decoding=True).median == pytest.approx(10.0)
    assert ratio(fast, slow, decoding=True).median == pytest.approx(5.0)
    slow.add(3, 7.0, 10, reading=None)
    assert (fast.told, slow.told) == (True, False)


def test_what_is_counted_follows_the_cost_model_and_no_clock() -> None:
    drafting, plain = Cells(), Cells()
    for block, drafted in enumerate((8, 12, 10)):
        drafting.add(0, 1.0 + block, 10, passes=2, drafted=drafted)
        plain.add(0, 5.0 - block, 10, passes=10)
    costs = Costs(0.1, 0.1, 0.5)
    # 30 tokens for 6 passes, each with its overhead, and 30 drafted tokens at 0.2.
    found = counted(drafting, costs)
    assert found.median == pytest.approx(30 / (6 * 1.5 + 30 * 0.2))
    assert found.low < found.median < found.high
    # Plain decoding pays for its passes alone, whatever drafting would cost.
    assert counted(plain, costs).median == pytest.approx(1.0)
    assert counted_ratio(drafting, costs, plain, costs) == found
    dearer = counted_ratio(drafting, Costs(0.4, 0.1, 0.5), drafting, costs)
    assert dearer.median == pytest.approx((6 * 1.5 + 30 * 0.2) / (6 * 1.5 + 30 * 0.5))


def test_one_measurement_has_no_spread() -> None:
    found = speed(cells([2.0]))
    assert found.low == found.median == found.high == pytest.approx(5.0)
