"""Which rows attend together and which alone, and that it makes no difference to what they see."""

from __future__ import annotations

import pytest
import torch

from specdec.cache import _shared
from specdec.llama import LeanLlama
from specdec.models import feed
from tests.specdec.test_models import llama

ENDS = [10, 12, 11, 900]


def test_one_long_row_does_not_make_the_others_dear() -> None:
    assert _shared(ENDS) == 12
    assert _shared([40, 40, 40]) == 40
    # Rows that have little in common are cheapest alone.
    assert _shared([1000, 1500, 1900]) == 0


@pytest.mark.parametrize("widths", [(1, 1, 1, 1), (1, 3, 2, 4)])
@pytest.mark.parametrize("chosen", [(0, 1, 2, 3), (0, 3), (1, 2, 3)])
def test_rows_see_in_company_what_they_see_by_themselves(widths: tuple[int, ...], chosen: tuple[int, ...]) -> None:
    model = LeanLlama.of(llama(dtype=torch.float64, max_position_embeddings=512), "tiny")
    texts = [[(7 * i + j) % 50 for j in range(length)] for i, length in enumerate((5, 9, 3 + max(widths), 300))]
    parts = [(text[:-width], text[-width:]) for text, width in zip(texts, widths, strict=True)]
    with torch.inference_mode():
        cache = model.new_cache()
        for before, _ in parts:
            feed(model, cache, [cache.add_row()], [before])
        found = feed(model, cache, list(chosen), [parts[row][1] for row in chosen])
        alone = [_by_itself(model, *parts[row]) for row in chosen]
    assert torch.allclose(found, torch.cat(alone), atol=1e-12)


def _by_itself(model: LeanLlama, before: list[int], after: list[int]) -> torch.Tensor:
    cache = model.new_cache()
    row = cache.add_row()
    feed(model, cache, [row], [before])
    return feed(model, cache, [row], [after])


def test_room_that_one_long_row_took_is_given_back() -> None:
    model = LeanLlama.of(llama(dtype=torch.float64, max_position_embeddings=4096), "tiny")
    texts = [[(7 * i + j) % 50 for j in range(length)] for i, length in enumerate((4000, 6))]
    with torch.inference_mode():
        cache = model.new_cache()
        for text in texts:
            feed(model, cache, [cache.add_row()], [text])
        full = cache._store.nbytes
        cache.drop_row(0)
        assert cache._store.nbytes < full / 4
        found = feed(model, cache, [0], [[1, 2, 3]])
        assert torch.allclose(found, _by_itself(model, texts[1], [1, 2, 3]), atol=1e-12)
