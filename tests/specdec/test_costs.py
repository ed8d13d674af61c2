"""Costs are read off step times by a known rule. No time is asserted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch

from specdec import SpecDecError, SpecDecoder, costs
from specdec.costs import measure
from specdec.decode import Batch
from specdec.head import AcceptanceHead
from specdec.head_config import HeadConfig
from specdec.models import Loaded
from tests.specdec.tiny import TableModel


def pair(head: bool = False) -> SpecDecoder:
    models = [Loaded(TableModel(seed, vocab=8, context=256), None, None, frozenset()) for seed in (1, 2)]
    return SpecDecoder(models[0], models[1], "fixed:2", head=AcceptanceHead(HeadConfig(4, 1)).eval() if head else None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round takes 1 + .2 (if it drafts) + (.2, with q read .3, with entropies .5, with the head .8 or, where q says
    enough, .4)·(tokens of one row), a pass of the target 1 + .1·(width − 1) ms, and the draft reads 64 tokens in 3.2
    ms."""

    def timed(step: Callable[[], object]) -> float:
        batch = getattr(step, "__self__", None)
        if not isinstance(batch, Batch):
            width = len(step.__self__._fed[0])  # type: ignore[attr-defined]
            step()
            return 3.2e-3 if width == 64 else 1e-3 * (1 + 0.1 * (width - 1))
        row = batch.rows[0]
        before, needs = row.drafted, row.policy.needs
        step()
        drafted = row.drafted - before
        proposer = batch._proposer
        if proposer and proposer._asked and proposer._asked.known(0.5, 1.0) is not None:
            return 1e-3 * (1.2 + 0.4 * drafted)
        each = 0.8 if "head" in needs else 0.5 if "entropy" in needs else 0.3 if needs else 0.2
        return 1e-3 * (1 + (0.2 + each * drafted if drafted else 0))

    monkeypatch.setattr(costs, "_timed", timed)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("head", [False, True])
def test_costs_are_the_slopes_of_the_measured_lines(head: bool) -> None:
    found = measure(pair(head), batch=3, repeats=3)
    assert found.plain == pytest.approx(1e-3)
    assert (found.rule.draft, found.rule.verify, found.rule.overhead) == pytest.approx((0.2, 0.1, 0.2))
    assert (found.fixed.draft, found.entropies.draft) == pytest.approx((0.1, 0.4))
    assert found.costs.draft == pytest.approx(0.7 if head else 0.2)
    assert found.reading == pytest.approx(3.2 / 64)


def test_neither_luck_nor_interruptions_tell_what_a_step_costs(clock: None, monkeypatch: pytest.MonkeyPatch) -> None:
    honest, turns = costs._timed, Counter[object]()

    def timed(step: Callable[[], object]) -> float:
        turns[step] += 1
        # The first repeat that counts is lucky, the last two are interrupted.
        return honest(step) * {2: 0.1, 12: 10.0, 13: 10.0}.get(turns[step], 1.0)

    monkeypatch.setattr(costs, "_timed", timed)
    found = measure(pair(), repeats=12)
    assert found.plain == pytest.approx(1e-3)
    assert (found.rule.draft, found.rule.verify) == pytest.approx((0.2, 0.1))


@pytest.mark.usefixtures("clock")
def test_slow_steps_are_repeated_a_few_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    honest, turns = costs._timed, Counter[object]()

    def timed(step: Callable[[], object]) -> float:
        turns[step] += 1
        return honest(step)

    monkeypatch.setattr(costs, "_timed", timed)
    measure(pair(), repeats=50, seconds=0.0)
    # The first of them warms up.
    assert set(turns.values()) == {costs._FEWEST + 1}


def test_real_clocks_give_positive_times() -> None:
    assert measure(pair(), repeats=2, prompt=8).plain > 0


@pytest.mark.usefixtures("clock")
def test_the_heads_evaluation_counts_for_the_tokens_it_is_asked_about() -> None:
    model = pair(head=True)
    assert model.head is not None
    asked = SpecDecoder(model.target, model.draft, head=model.head.with_sure(0.9).with_asked(0.25))
    assert measure(asked, repeats=3).costs.draft == pytest.approx(0.2 + 0.1 + 0.25 * 0.4)
    assert asked.head is not None
    silent = SpecDecoder(model.target, model.draft, head=asked.head.with_greedy(1.0, 0.0))
    assert measure(silent, repeats=3, temperature=0.0).costs.draft == pytest.approx(0.2 + 0.1)
    assert measure(silent, repeats=3, temperature=1.0).costs.draft == pytest.approx(0.2 + 0.1 + 0.25 * 0.4)


def test_measuring_leaves_the_global_generator_alone() -> None:
    model = pair()
    state = torch.random.get_rng_state()
    measure(model, repeats=1, prompt=8)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_short_context_is_measured_within_or_refused() -> None:
    def short(context: int) -> SpecDecoder:
        models = [Loaded(TableModel(seed, vocab=8, context=context), None, None, frozenset()) for seed in (1, 2)]
        return SpecDecoder(models[0], models[1], "fixed:2")

    assert measure(short(16), repeats=5).costs.draft > 0
    with pytest.raises(SpecDecError, match="context of 12 tokens is too short"):
        measure(short(12), repeats=5)
