"""The crossover: where K = 0 begins, and what the table says. No time is asserted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from specdec import SpecDecError
from specdec.bench import Plan
from specdec.crossover import Point, crossing, crossover, markdown
from specdec.decoder import SpecDecoder
from specdec.head import AcceptanceHead
from specdec.head_config import HeadConfig
from specdec.paired import Interval
from specdec.policies.base import LIMIT
from specdec.stopping import Stopping
from tests.specdec.test_bench import PROMPTS, pair

PLAN = Plan((0.0, 1.0), repeats=2, tokens=5)


def test_every_size_is_decoded_both_ways_as_the_head_was_tuned() -> None:
    model = pair()
    assert model.head is not None
    tuned = model.head.with_stopping(Stopping(0.4, stages=((1, 0.4, 20), (4, 0.3, 0))), Stopping(0.2))
    points = crossover(SpecDecoder(model.target, model.draft, head=tuned), PROMPTS, PLAN, (1, 4))
    assert [(p.temperature, p.batch, p.most, p.threshold) for p in points] == [
        (0.0, 1, LIMIT, 0.2), (0.0, 4, LIMIT, 0.2), (1.0, 1, 20, 0.4), (1.0, 4, 0, 0.3),
    ]  # fmt: skip
    assert all(point.plain.median > 0 and point.speed.median > 0 for point in points)
    assert (crossing(points[:2]), crossing(points[2:])) == (None, 4)
    cold, warm = markdown(points).split("Temperature 1:")
    assert "Drafts at every size" in cold
    assert "from batch 4 on" in warm


def test_where_the_head_was_not_trained_its_stand_in_is_measured() -> None:
    model = pair()
    narrow = SpecDecoder(model.target, model.draft, head=AcceptanceHead(HeadConfig(4, 1, high=0.5)).eval())
    (point,) = crossover(narrow, PROMPTS, replace(PLAN, temperatures=(1.0,)), (2,))
    assert (point.threshold, point.most) == (None, LIMIT)
    assert "| 2 | – |" in markdown([point])


def test_a_size_that_pays_beyond_one_that_does_not_moves_the_crossover() -> None:
    flat = Interval(1.0, 1.0, 1.0)

    def points(*most: int) -> list[Point]:
        return [Point(0.0, 2**i, 0.5, k, flat, flat, flat, flat) for i, k in enumerate(most)]

    assert crossing(points(20, 0, 20, 0, 0)) == 8
    assert crossing(points(20, 20)) is None
    assert crossing(points(0, 0)) == 1
    assert "Drafts at every size" in markdown(points(20))
    assert "(K = 0) at batch 1, 2, and not beyond" in markdown(points(0, 0, 4))


def test_it_is_measured_with_a_head() -> None:
    with pytest.raises(SpecDecError, match="give --head"):
        crossover(pair(head=False), PROMPTS, PLAN)
