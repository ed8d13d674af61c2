"""What is tuned for each number of rows: derived from costs, given up where a trial says so. No time is asserted."""

from __future__ import annotations

from typing import Any

import pytest

from specdec import stages as module
from specdec.costs import Measured
from specdec.decoder import SpecDecoder
from specdec.errors import SpecDecError
from specdec.head import AcceptanceHead
from specdec.head_config import HeadConfig
from specdec.paired import Cells
from specdec.params import Sampling
from specdec.policies.base import LIMIT, Policy
from specdec.policies.specdecpp import SpecDecPP
from specdec.rules import Rules
from specdec.stages import both_ways, stages, tuned
from specdec.stopping import Stopping
from specdec.threshold import Costs, Window
from specdec.windows import Windows
from tests.specdec.test_bench import PROMPTS, pair

BY_BATCH = {1: Costs(0.1), 4: Costs(0.3, 0.05), 16: Costs(0.9, 0.5, 0.3)}
WINDOWS = [Window((0.8,) * 12, (0.8,) * 12)]


def measured(costs: Costs) -> Measured:
    return Measured(1e-3, costs, costs, costs, costs, 0.0)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """Costs as above, and the gain that a trial finds for each size."""
    gains = {1: 2.0, 4: 1.3, 16: 1.3}
    monkeypatch.setattr(module, "measure", lambda pair, batch, temperature: measured(BY_BATCH[batch]))

    def found(pair: SpecDecoder, policy: Policy, size: int, *rest: Any, **settings: Any) -> tuple[Cells, Cells]:
        plain, drafting = Cells(), Cells()
        plain.add(0, gains[size], 1)
        drafting.add(0, 1.0, 1)
        return plain, drafting

    monkeypatch.setattr(module, "both_ways", found)
    return gains


def policy(batches: tuple[int, ...]) -> Any:
    return SpecDecPP(stages=stages(pair(), WINDOWS, PROMPTS, batches))


@pytest.mark.usefixtures("tried")
def test_nothing_is_drafted_where_the_costs_forbid_it() -> None:
    found = policy((1, 4, 16))
    assert [found.limit(batch) for batch in (1, 3, 4, 16, 64)] == [24, 24, 24, 0, 0]
    thresholds = [h for _, h, _ in found.stages]
    # The dearer a token, the earlier to stop.
    assert thresholds[0] > thresholds[1]


def test_nothing_is_drafted_where_a_trial_gains_too_little(tried: dict[int, float]) -> None:
    tried[4] = 1.02
    assert [policy((1, 4)).limit(batch) for batch in (1, 4)] == [24, 0]


def test_what_does_not_pay_is_not_tried_among_more_rows(tried: dict[int, float]) -> None:
    tried[1] = 0.9
    assert [policy((1, 4)).limit(batch) for batch in (1, 4)] == [0, 0]


def test_a_trial_that_was_disturbed_is_made_once_more(tried: dict[int, float], monkeypatch: pytest.MonkeyPatch) -> None:
    found, seen = module.both_ways, list[int]()

    def disturbed(
        pair: SpecDecoder, policy: Policy, size: int, *rest: Any, repeats: int, **settings: Any
    ) -> tuple[Cells, Cells]:
        seen.append(repeats)
        tried[4] = 0.9 if len(seen) == 1 else 1.3
        return found(pair, policy, size, *rest, repeats=repeats, **settings)

    monkeypatch.setattr(module, "both_ways", disturbed)
    assert policy((4,)).limit(4) == 24
    assert seen[1] == 2 * seen[0]


def test_both_ways_write_every_text_and_take_turns() -> None:
    samplings = [Sampling(max_tokens=5, seed=i) for i in range(3)]
    arms = both_ways(pair(), SpecDecPP(0.5, maximum=4), 2, PROMPTS, samplings, repeats=2, block=2)
    assert [cells.tokens for cells in arms] == [[[10, 5], [10, 5]]] * 2
    assert all(seconds > 0 for cells in arms for row in cells.seconds for seconds in row)


def tuned_at(head: AcceptanceHead, *temperatures: float) -> HeadConfig:
    model = pair()
    of = SpecDecoder(model.target, model.draft, head=head)
    return tuned(of, Windows(WINDOWS, WINDOWS), PROMPTS, (4, 1, 4), temperatures=temperatures).config


@pytest.mark.usefixtures("tried")
def test_what_is_not_tuned_stays_as_it_was() -> None:
    blank = AcceptanceHead(HeadConfig(4, 1)).eval()
    stopping, cold = Stopping(0.5, stages=((2, 0.3, 5),)), Stopping(0.4)
    warmed = tuned_at(blank.with_stopping(stopping, cold), 1.0)
    assert [size for size, _, _ in warmed.stopping.stages] == [1, 4]
    assert (warmed.stopping.threshold, warmed.cold) == (0.5, cold)
    chilled = tuned_at(blank.with_stopping(stopping, cold), 0.0)
    assert chilled.stopping == stopping
    assert chilled.cold is not None
    assert [size for size, _, _ in chilled.cold.stages] == [1, 4]
    # One rule for all temperatures serves temperature 0 until another is tuned for it.
    assert tuned_at(blank.with_stopping(stopping), 1.0).cold == stopping


@pytest.mark.usefixtures("tried")
def test_a_head_of_temperature_0_alone_has_one_rule_which_its_stand_in_heeds_too(tried: dict[int, float]) -> None:
    tried[4] = 0.9
    config = tuned_at(AcceptanceHead(HeadConfig(4, 1, high=0.0)).eval(), 0.0)
    assert config.cold is None
    stand_in, note = Rules(None, "logistic", config, drafts=True).at(1.0)
    assert "not 1" in note
    assert [stand_in.limit(batch) for batch in (1, 4)] == [LIMIT, 0]


def test_temperatures_that_the_head_does_not_know_are_not_tuned() -> None:
    with pytest.raises(SpecDecError, match="trained for temperatures 0 to 1, not 2"):
        tuned_at(AcceptanceHead(HeadConfig(4, 1)).eval(), 2.0)
