"""Which fixed lengths go on to be measured in full."""

from __future__ import annotations

import pytest

from bench.fixed_lengths import screened
from specdec.bench import Plan
from specdec.decoder import SpecDecoder
from specdec.models import Loaded
from tests.specdec.tiny import TableModel


@pytest.fixture
def pair() -> SpecDecoder:
    models = [Loaded(TableModel(seed, vocab=8), None, None, frozenset()) for seed in (1, 2)]
    return SpecDecoder(models[0], models[1])


def test_each_length_is_tried_and_the_fastest_go_on(pair: SpecDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    from specdec import bench as module

    asked, real = list[Plan](), module.bench

    def noted(*given: object) -> object:
        asked.append(given[2])  # type: ignore[arg-type]
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "bench", noted)
    names, table = screened(pair, [[1, 2, 3], [4, 5, 6]], Plan((0.0,), 1, 1, 8, 0))
    assert [name for name in asked[0].systems if name != "off"] == [f"fixed:{k}" for k in range(1, 21)]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ") and "K" not in line]
    assert [int(row[0].strip("| ")) for row in rows] == list(range(1, 21))
    clock = {f"fixed:{row[0].strip('| ')}": float(row[1]) for row in rows}
    assert 3 <= len(names) <= 6
    # As the table shows them, rounded: none that stays behind is faster than all that go on.
    assert max(clock.values()) == max(clock[name] for name in names)
