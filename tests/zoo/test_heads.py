"""Every head that comes with the zoo loads, and fits the draft that its model names."""

from __future__ import annotations

import pytest

from archon import zoo
from specdec.head_files import load_head
from specdec.models import load

HEADED = [name for name in zoo.names() if zoo.model(name).head]


@pytest.mark.parametrize("name", HEADED)
def test_a_shipped_head_fits_its_draft(name: str) -> None:
    model = zoo.model(name)
    assert model.head is not None
    assert model.draft is not None
    head, draft = load_head(zoo.path(name) / model.head), load(zoo.path(model.draft)).model
    head.check(draft.width, draft.name)
    for tuned in (head.config.stopping, head.config.cold):
        assert tuned is not None
        assert tuned.threshold is not None
        assert tuned.stages
