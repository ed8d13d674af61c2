"""The crossover: where K = 0 begins, and what the table says. No time is asserted."""

from __future__ import annotations

import pytest

from specdec import SpecDecError
from specdec import crossover as module
from specdec.bench import Plan
from specdec.crossover import Point, crossing, crossover, markdown
from specdec.decoder import SpecDecoder
from specdec.paired import Interval
from specdec.policies.base import LIMIT
from specdec.threshold import Window
from specdec.windows import Windows
from tests.specdec.test_bench import PROMPTS, pair

PLAN = Plan((0.0,), repeats=2, tokens=5)
WINDOWS = Windows([Window((0.9,) * 5, (0.9,) * 5)], [])


def test_every_size_is_decoded_both_ways_by_the_policy_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def staged(
        of: SpecDecoder, windows: object, prompts: object, batches: tuple[int, ...], **settings: object
    ) -> tuple[tuple[int, float, int], ...]:
        return tuple((size, 0.4, 20 if size < 4 else 0) for size in batches)

    monkeypatch.setattr(module, "staged", staged)
    points = crossover(pair(), PROMPTS, WINDOWS, PLAN, (1, 4))
    assert [(point.batch, point.most, point.threshold) for point in points] == [(1, 20, 0.4), (4, 0, 0.4)]
    assert all(point.plain.median > 0 and point.speed.median > 0 for point in points)
    assert crossing(points) == 4
    assert "from batch 4 on" in markdown(points)


def test_real_costs_give_points_too() -> None:
    (point,) = crossover(pair(), PROMPTS, WINDOWS, PLAN, (2,))
    assert point.batch == 2
    assert point.most in (0, LIMIT)


def test_a_size_that_pays_beyond_one_that_does_not_moves_the_crossover() -> None:
    flat = Interval(1.0, 1.0, 1.0)

    def points(*most: int) -> list[Point]:
        return [Point(2**i, 0.5, k, flat, flat, flat, flat) for i, k in enumerate(most)]

    assert crossing(points(20, 0, 20, 0, 0)) == 8
    assert crossing(points(20, 20)) is None
    assert crossing(points(0, 0)) == 1
    assert "pays at every size" in markdown(points(20))
    assert "(K = 0) at batch 1, 2, and not beyond" in markdown(points(0, 0, 4))


def test_one_prompt_cannot_be_both_tuned_on_and_tried() -> None:
    with pytest.raises(SpecDecError, match="two prompts"):
        crossover(pair(), PROMPTS[:1], WINDOWS, PLAN)


def test_it_is_measured_with_a_head() -> None:
    with pytest.raises(SpecDecError, match="give --head"):
        crossover(pair(head=False), PROMPTS, WINDOWS, PLAN)
