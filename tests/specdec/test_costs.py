"""Costs are read off step times by a known rule; the plan they give decides by batch. No time is asserted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from specdec import SpecDecoder, costs
from specdec.costs import measure, plan
from specdec.decode import Batch
from specdec.head import AcceptanceHead, HeadConfig
from specdec.models import Loaded
from specdec.threshold import Costs, Window
from tests.specdec.tiny import TableModel


def pair(head: bool = False) -> SpecDecoder:
    models = [Loaded(TableModel(seed, vocab=8, context=256), None, None, frozenset()) for seed in (1, 2)]
    return SpecDecoder(models[0], models[1], "fixed:2", head=AcceptanceHead(HeadConfig(4, 1)).eval() if head else None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round takes 1 + .2 (if it drafts) + .3·(tokens of one row), a pass of the target 1 + .1·(width − 1) ms."""

    def timed(step: Callable[[], object]) -> float:
        batch = getattr(step, "__self__", None)
        assert isinstance(batch, Batch)
        before = batch.rows[0].drafted
        step()
        drafted = batch.rows[0].drafted - before
        return 1e-3 * (1 + (0.2 + 0.3 * drafted if drafted else 0))

    def timed_pass(of: SpecDecoder, size: int, prompt: int, width: int) -> float:
        return 1e-3 * (1 + 0.1 * (width - 1))

    monkeypatch.setattr(costs, "_timed", timed)
    monkeypatch.setattr(costs, "_timed_pass", timed_pass)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("head", [False, True])
def test_costs_are_the_slopes_of_the_measured_lines(head: bool) -> None:
    found = measure(pair(head), batch=3, repeats=3)
    assert found.plain == pytest.approx(1e-3)
    assert found.costs.draft == pytest.approx(0.2)
    assert found.costs.verify == pytest.approx(0.1)
    assert found.costs.overhead == pytest.approx(0.2)


def test_real_clocks_give_positive_times() -> None:
    assert measure(pair(), repeats=2, prompt=8).plain > 0


def test_the_plan_stops_drafting_where_it_does_not_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    by_batch = {1: Costs(0.1), 4: Costs(0.3, 0.05), 16: Costs(0.9, 0.5, 0.3)}
    monkeypatch.setattr(costs, "measure", lambda pair, batch, temperature: costs.Measured(1e-3, by_batch[batch]))
    policy = plan(pair(head=True), [Window((0.8,) * 12, (0.8,) * 12)], (1, 4, 16))
    assert [policy.limit(batch) for batch in (1, 3, 4, 16, 64)] == [20, 20, 20, 0, 0]
    thresholds = [h for _, h, _ in policy.stages]
    # The dearer a token, the earlier to stop.
    assert thresholds[0] > thresholds[1]


def test_measuring_leaves_the_global_generator_alone() -> None:
    model = pair()
    state = torch.random.get_rng_state()
    measure(model, repeats=1, prompt=8)
    assert torch.equal(state, torch.random.get_rng_state())
