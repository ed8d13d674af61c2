"""Many rows lie in pages: they see what each would see by itself, whoever comes, grows or leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from specdec.cache import KVCache
from specdec.llama import LeanLlama
from specdec.models import LanguageModel, feed, read
from specdec.pages import Pages
from specdec.spans import FreshSpan, GatheredSpan, PagedSpan, Span
from tests.specdec.test_models import llama

TEXTS = [[(7 * i + j) % 50 for j in range(length)] for i, length in enumerate((105, 19, 112, 48, 127, 96))]
EVERY = tuple(range(len(TEXTS)))


def model(kv_heads: int = 2) -> LeanLlama:
    tiny = llama(dtype=torch.float64, max_position_embeddings=2048, num_key_value_heads=kv_heads)
    return LeanLlama.of(tiny, "tiny")


def by_itself(model: LanguageModel, before: Sequence[int], after: Sequence[int]) -> torch.Tensor:
    cache = model.new_cache()
    row = cache.add_row()
    feed(model, cache, [row], [before])
    return feed(model, cache, [row], [after])


def joined(model: LanguageModel, texts: Sequence[Sequence[int]]) -> KVCache:
    """A cache that holds each of the texts, of which those of a length are read together."""
    cache = model.new_cache()
    for _ in texts:
        cache.add_row()
    read(model, cache, range(len(texts)), texts)
    for row, text in enumerate(texts):
        cache.roll_back(row, len(text))
    return cache


@torch.inference_mode()
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("widths", [(1,) * 6, (1, 3, 2, 4, 1, 2), (1, 40, 2, 1, 33, 1)])
@pytest.mark.parametrize("chosen", [EVERY, (0, 3, 4), (1,)])
def test_many_rows_see_what_they_see_by_themselves(
    widths: tuple[int, ...], kv_heads: int, chosen: tuple[int, ...], opened: list[Span]
) -> None:
    tiny = model(kv_heads)
    parts = [(text[:10], text[10 : 10 + width]) for text, width in zip([t * 5 for t in TEXTS], widths, strict=True)]
    cache = joined(tiny, [before for before, _ in parts])
    found = feed(tiny, cache, chosen, [parts[row][1] for row in chosen])
    kinds = [type(span) for span in opened[:2]]
    assert kinds == [PagedSpan, GatheredSpan if max(widths[row] for row in chosen) > 32 else PagedSpan]
    expected = torch.cat([by_itself(tiny, *parts[row]) for row in chosen])
    assert torch.allclose(found, expected, atol=1e-12)


@torch.inference_mode()
def test_rows_that_come_and_go_and_grow_keep_what_they_hold() -> None:
    tiny, texts = model(), [list(text) for text in TEXTS]
    cache = joined(tiny, texts)
    for step in range(160):
        feed(tiny, cache, range(len(texts)), [[step % 50]] * len(texts))
        texts = [[*text, step % 50] for text in texts]
        if step % 20 == 19:
            # The last row takes the place of the one that leaves; at times another joins behind it, which is read
            # alone. In the end the rows are few.
            cache.drop_row(0)
            texts[0] = texts.pop()
            if step % 40 == 39:
                texts.append([3, 4, 5])
                feed(tiny, cache, [cache.add_row()], [texts[-1]])
    found = feed(tiny, cache, range(len(texts)), [[9]] * len(texts))
    assert len(texts) == 2
    assert torch.allclose(found, torch.cat([by_itself(tiny, text, [9]) for text in texts]), atol=1e-12)


@torch.inference_mode()
def test_rows_that_were_few_hold_the_same_once_they_are_many(opened: list[Span]) -> None:
    tiny, cache = model(), model().new_cache()
    for text in TEXTS:
        feed(tiny, cache, [cache.add_row()], [text])
    cache.roll_back(0, 50)
    found = feed(tiny, cache, EVERY, [[4]] * len(TEXTS))
    assert isinstance(opened[-1], PagedSpan)
    texts = [TEXTS[0][:50], *TEXTS[1:]]
    assert torch.allclose(found, torch.cat([by_itself(tiny, text, [4]) for text in texts]), atol=1e-12)


@torch.inference_mode()
def test_a_copied_row_goes_on_by_itself() -> None:
    tiny = model()
    cache = joined(tiny, TEXTS)
    cache.copy_row(2, cache.add_row())
    found = feed(tiny, cache, range(7), [[token] for token in range(7)])
    texts = [*TEXTS, TEXTS[2]]
    expected = [by_itself(tiny, text, [token]) for token, text in enumerate(texts)]
    assert torch.allclose(found, torch.cat(expected), atol=1e-12)


@torch.inference_mode()
def test_prompts_are_read_where_they_are_written(opened: list[Span]) -> None:
    tiny = model()
    texts = [[*text, *text] for text in TEXTS]
    cache = joined(tiny, texts)
    assert isinstance(opened[0], FreshSpan)
    found = feed(tiny, cache, EVERY, [[8]] * len(texts))
    assert torch.allclose(found, torch.cat([by_itself(tiny, text, [8]) for text in texts]), atol=1e-12)


class Dirty(Pages):
    """A pool that held NaN before."""

    def _resize(self, pages: int, used: int) -> None:
        super()._resize(pages, used)
        self._pool[:, :, used:] = torch.nan


@torch.inference_mode()
def test_what_the_memory_held_before_is_never_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specdec.cache.Pages", Dirty)
    tiny = model()
    cache = joined(tiny, TEXTS)
    found = feed(tiny, cache, EVERY, [[1, 2]] * len(TEXTS))
    assert torch.allclose(found, torch.cat([by_itself(tiny, text, [1, 2]) for text in TEXTS]), atol=1e-12)


def test_pages_are_taken_again_and_given_back() -> None:
    pages = Pages(1, 1, 2, torch.float32, torch.device("cpu"))
    for row in range(3):
        pages.add_row()
        pages.fill(row, torch.full((1, 2, 1, 9000 if row == 1 else 100, 2), float(row)))
    full = pages.nbytes
    pages.drop_row(1)
    assert pages.nbytes < full
    held = [pages.held(row, 100) for row in range(2)]
    assert [torch.unique(part).tolist() for part in held] == [[0.0], [2.0]]
    small = pages.nbytes
    pages.add_row()
    pages.fill(2, torch.ones(1, 2, 1, 100, 2))
    assert pages.nbytes == small


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Span]:
    """The spans that are opened."""
    spans, honest = list[Span](), KVCache.open

    def note(self: KVCache, rows: Any, counts: Any) -> Span:
        spans.append(honest(self, rows, counts))
        return spans[-1]

    monkeypatch.setattr(KVCache, "open", note)
    return spans
