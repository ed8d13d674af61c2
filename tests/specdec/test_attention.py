"""Which rows attend together and which alone, and that it makes no difference to what they see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from specdec.llama import LeanLlama
from specdec.models import LanguageModel, feed
from specdec.slots import Slots
from specdec.spans import shared_keys
from specdec.transformers_model import TransformersModel
from tests.specdec.test_models import llama

ENDS = [10, 12, 11, 900]


def test_one_long_row_does_not_make_the_others_dear() -> None:
    assert shared_keys(ENDS) == 12
    assert shared_keys([40, 40, 40]) == 40
    # Rows that have little in common are cheapest alone.
    assert shared_keys([1000, 1500, 1900]) == 0


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


class Dirty(Slots):
    """Room that held NaN before."""

    def _resize(self, rows: int, slots: int) -> None:
        super()._resize(rows, slots)
        for row in range(rows):
            length = self._lengths[row] if row < len(self._lengths) else 0
            self._store[:, :, row, :, length:] = torch.nan


@pytest.mark.parametrize("kind", [LeanLlama.of, TransformersModel])
def test_what_the_memory_held_before_is_never_seen(
    kind: Callable[[Any, str], LanguageModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("specdec.cache.Slots", Dirty)
    model = kind(llama(max_position_embeddings=1024), "tiny")
    texts = [[(7 * i + j) % 50 for j in range(length)] for i, length in enumerate((2, 590, 70))]
    with torch.inference_mode():
        cache = model.new_cache()
        rows = [cache.add_row() for _ in texts]
        feed(model, cache, rows, [text[:1] for text in texts])
        # Together, beyond the room there was at first, and in a row that another has left.
        feed(model, cache, rows[1:], [text[1:-3] for text in texts[1:]])
        found = feed(model, cache, rows, [texts[0][1:], texts[1][-3:], texts[2][-3:]])
        alone = [_by_itself(model, text[:-3], text[-3:]) for text in texts[1:]]
        assert torch.allclose(found, torch.cat([_by_itself(model, texts[0][:1], texts[0][1:]), *alone]), atol=1e-5)
        cache.drop_row(1)
        cache.add_row()
        again = feed(model, cache, rows, [[3], [4], [5, 6]])
        expected = [_by_itself(model, text, [token]) for text, token in ((texts[0], 3), (texts[2], 4))]
        assert torch.allclose(again, torch.cat([*expected, _alone(model, [5, 6])]), atol=1e-5)


def _alone(model: LanguageModel, tokens: list[int]) -> torch.Tensor:
    cache = model.new_cache()
    return feed(model, cache, [cache.add_row()], [tokens])


def _by_itself(model: LanguageModel, before: list[int], after: list[int]) -> torch.Tensor:
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
            row = cache.add_row()
            for at in range(0, len(text), 100):
                feed(model, cache, [row], [text[at : at + 100]])
        full = cache.nbytes
        cache.drop_row(0)
        # All that is held, and not only what is in use.
        assert cache.nbytes < full / 4
        found = feed(model, cache, [0], [[1, 2, 3]])
        assert torch.allclose(found, _by_itself(model, texts[1], [1, 2, 3]), atol=1e-12)


TEXTS = [[(7 * i + j) % 50 for j in range(length)] for i, length in enumerate((105, 130))]


def test_single_rows_are_read_in_the_same_places_again_after_the_room_has_moved() -> None:
    model = LeanLlama.of(llama(dtype=torch.float64, max_position_embeddings=2048), "tiny")
    with torch.inference_mode():
        cache = model.new_cache()
        row = cache.add_row()
        for text in (TEXTS[0], TEXTS[1]):
            cache.roll_back(row, 0)
            feed(model, cache, [row], [text])
            assert torch.allclose(feed(model, cache, [row], [[7]]), _by_itself(model, text, [7]), atol=1e-12)
        cache.roll_back(row, len(TEXTS[1]))
        feed(model, cache, [row], [[j % 50 for j in range(700)]])  # beyond the room there was
        cache.roll_back(row, len(TEXTS[1]))
        assert torch.allclose(feed(model, cache, [row], [[8]]), _by_itself(model, TEXTS[1], [8]), atol=1e-12)
