"""Which rows attend together and which alone, and that it makes no difference to what they see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from specdec.cache import KVCache
from specdec.llama import LeanLlama
from specdec.models import LanguageModel, feed
from specdec.spans import Span, shared_keys
from specdec.transformers_model import TransformersModel
from tests.specdec.test_models import llama

ENDS = [10, 12, 11, 900]


def test_one_long_row_does_not_make_the_others_dear() -> None:
    assert shared_keys(ENDS)[0] == 12
    assert shared_keys([40, 40, 40])[0] == 40
    # Rows that have little in common are cheapest alone.
    assert shared_keys([1000, 1500, 1900])[0] == 0


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


class Dirty(KVCache):
    """Room that held NaN before."""

    def _resize(self, rows: int, slots: int) -> None:
        super()._resize(rows, slots)
        for row in range(rows):
            length = self.lengths[row] if row < len(self.lengths) else 0
            self._store[:, :, row, :, length:] = torch.nan


@pytest.mark.parametrize("kind", [LeanLlama.of, TransformersModel])
def test_what_the_memory_held_before_is_never_seen(
    kind: Callable[[Any, str], LanguageModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("specdec.llama", "specdec.transformers_model"):
        monkeypatch.setattr(f"{module}.KVCache", Dirty)
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
        full = cache._store.nbytes
        cache.drop_row(0)
        # All that is held, and not only what is in use.
        assert cache.nbytes < full / 4
        found = feed(model, cache, [0], [[1, 2, 3]])
        assert torch.allclose(found, _by_itself(model, texts[1], [1, 2, 3]), atol=1e-12)


MANY = [[(7 * i + j) % 50 for j in range(length)] for i, length in enumerate((105, 119, 112, 130, 127, 108))]


@pytest.mark.parametrize("kv_heads", [2, 4])
@pytest.mark.parametrize("widths", [(1,) * 6, (1, 3, 2, 4, 1, 2)])
def test_many_rows_read_one_piece_of_memory_and_see_what_they_see_by_themselves(
    widths: tuple[int, ...], kv_heads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = llama(dtype=torch.float64, max_position_embeddings=512, num_key_value_heads=kv_heads)
    model = LeanLlama.of(tiny, "tiny")
    spans = _watched(monkeypatch)
    with torch.inference_mode():
        cache = model.new_cache()
        rows = [cache.add_row() for _ in MANY]
        feed(model, cache, rows, [text[:-width] for text, width in zip(MANY, widths, strict=True)])
        found = feed(model, cache, rows, [text[-width:] for text, width in zip(MANY, widths, strict=True)])
        expected = [_by_itself(model, text[:-width], text[-width:]) for text, width in zip(MANY, widths, strict=True)]
    # Grouped heads gain nothing by it.
    assert spans[1].dense == (kv_heads == 4)
    assert not spans[1].dense or spans[1].known[0][0].is_contiguous()
    assert torch.allclose(found, torch.cat(expected), atol=1e-12)


def test_rows_that_come_and_go_and_grow_keep_what_they_hold() -> None:
    tiny = llama(dtype=torch.float64, max_position_embeddings=2048, num_key_value_heads=4)
    model = LeanLlama.of(tiny, "tiny")
    with torch.inference_mode():
        cache, texts = model.new_cache(), [list(text) for text in MANY]
        for text in texts:
            feed(model, cache, [cache.add_row()], [text])
        for step in range(150):
            feed(model, cache, range(len(texts)), [[step % 50]] * len(texts))
            texts = [[*text, step % 50] for text in texts]
            if step % 40 == 39:
                # The last row takes the place of the one that leaves; another joins behind it.
                cache.drop_row(1)
                texts[1] = texts.pop()
                texts.append([3, 4, 5])
                feed(model, cache, [cache.add_row()], [texts[-1]])
        found = feed(model, cache, range(len(texts)), [[9]] * len(texts))
        expected = [_by_itself(model, text, [9]) for text in texts]
    assert torch.allclose(found, torch.cat(expected), atol=1e-12)


def test_single_rows_are_read_in_the_same_places_again_after_the_room_has_moved() -> None:
    model = LeanLlama.of(llama(dtype=torch.float64, max_position_embeddings=2048), "tiny")
    with torch.inference_mode():
        cache = model.new_cache()
        row = cache.add_row()
        for text in (MANY[0], MANY[3]):
            cache.roll_back(row, 0)
            feed(model, cache, [row], [text])
            assert torch.allclose(feed(model, cache, [row], [[7]]), _by_itself(model, text, [7]), atol=1e-12)
        cache.roll_back(row, len(MANY[3]))
        feed(model, cache, [row], [[j % 50 for j in range(700)]])  # beyond the room there was
        cache.roll_back(row, len(MANY[3]))
        assert torch.allclose(feed(model, cache, [row], [[8]]), _by_itself(model, MANY[3], [8]), atol=1e-12)


def test_room_is_as_wide_as_many_rows_need_and_narrower_when_a_long_one_leaves() -> None:
    cache = KVCache(1, 1, 2, torch.float32, torch.device("cpu"), apart=True, dense=True)
    rows = [cache.add_row() for _ in range(4)]
    cache.open(rows, [300, 20, 30, 25])
    assert 300 < cache._store.shape[4] < 400
    cache.drop_row(0)
    assert 30 < cache._store.shape[4] < 100
    assert cache.lengths == [25, 20, 30]
    assert cache.nbytes < 2 * cache._store.nbytes


def test_room_is_cut_to_what_many_rows_need_when_they_join_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LeanLlama.of(llama(dtype=torch.float64, max_position_embeddings=512, num_key_value_heads=4), "tiny")
    spans = _watched(monkeypatch)
    with torch.inference_mode():
        cache = model.new_cache()
        for text in MANY:
            feed(model, cache, [cache.add_row()], [text])
        found = feed(model, cache, range(len(MANY)), [[4]] * len(MANY))
    assert spans[-1].dense
    assert torch.allclose(found, torch.cat([_by_itself(model, text, [4]) for text in MANY]), atol=1e-12)


def test_many_tokens_at_once_write_out_no_scores_of_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LeanLlama.of(llama(dtype=torch.float64, max_position_embeddings=512, num_key_value_heads=4), "tiny")
    spans = _watched(monkeypatch)
    with torch.inference_mode():
        cache = model.new_cache()
        feed(model, cache, [cache.add_row() for _ in MANY], MANY)
    assert not spans[-1].dense


def _watched(monkeypatch: pytest.MonkeyPatch) -> list[Span]:
    """The spans that are opened from here on."""
    spans, opened = list[Span](), KVCache.open

    def note(self: KVCache, rows: Any, counts: Any) -> Span:
        spans.append(opened(self, rows, counts))
        return spans[-1]

    monkeypatch.setattr(KVCache, "open", note)
    return spans
