"""Many rows lie in pages: they see what each would see by itself, whoever comes, grows or leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from specdec import pages
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
    """A cache that holds each of the texts, read in one pass."""
    cache = model.new_cache()
    rows = [cache.add_row() for _ in texts]
    read(model, cache, rows, texts)
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


@torch.inference_mode()
def test_what_one_row_holds_that_is_not_a_number_stays_in_it() -> None:
    tiny = model()
    cache = joined(tiny, TEXTS)
    cache._pages._pool[:, :, cache._pages._rows[1], :, 3] = torch.nan
    found = feed(tiny, cache, EVERY, [[1]] * len(TEXTS))
    assert found.isnan().any(-1).tolist() == [False, True, False, False, False, False]


@torch.inference_mode()
def test_long_rows_leave_pages_whatever_room_there_was_before() -> None:
    tiny = model()
    cache = tiny.new_cache()
    feed(tiny, cache, [cache.add_row()], [TEXTS[1]])
    rows = [cache.add_row() for _ in range(5)]
    read(tiny, cache, rows, [TEXTS[0] * 6] * 5)
    held = [len(pages) for pages in cache._pages._rows]
    for _ in range(4):
        cache.drop_row(0)
    found = feed(tiny, cache, [0, 1], [[5], [6]])
    expected = [by_itself(tiny, TEXTS[0] * 6, [token]) for token in (5, 6)]
    assert torch.allclose(found, torch.cat(expected), atol=1e-12)
    assert held == [1, *[14] * 5]


@torch.inference_mode()
def test_what_rows_took_is_given_back_when_they_move(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_KEPT", 0)
    tiny = model()
    few, many = ([TEXTS[0] * 19] * count for count in (4, 20))
    alone = joined(tiny, few[:1]).nbytes
    cache = joined(tiny, few)
    for text in many:
        feed(tiny, cache, [cache.add_row()], [text])
    # In pages there are no slots beside them.
    assert cache._slots.nbytes == 0
    while len(cache.lengths) > 1:
        cache.drop_row(0)
    feed(tiny, cache, [0], [[1]])
    assert cache.nbytes < 8 * alone
    cache.drop_row(0)
    assert cache.nbytes < 8 * alone


@torch.inference_mode()
def test_pages_that_a_row_needs_no_more_are_not_read() -> None:
    tiny = model()
    cache = joined(tiny, [text[:10] for text in TEXTS])
    feed(tiny, cache, EVERY, [(TEXTS[0] * 3)[: 300 if row == 2 else 1] for row in EVERY])
    assert len(cache._pages._owners) > 6 * 6
    cache.roll_back(2, 11)
    found = feed(tiny, cache, EVERY, [[7]] * 6)
    assert len(cache._pages._owners) == 6
    texts = [[*text[:10], TEXTS[0][0]] for text in TEXTS]
    assert torch.allclose(found, torch.cat([by_itself(tiny, text, [7]) for text in texts]), atol=1e-12)


@torch.inference_mode()
def test_rows_of_which_only_some_are_empty_are_read_together(opened: list[Span]) -> None:
    tiny = model()
    cache = joined(tiny, TEXTS)
    cache.roll_back(3, 0)
    found = feed(tiny, cache, [2, 3, 5], [TEXTS[0][:40], TEXTS[1], TEXTS[3][:2]])
    assert isinstance(opened[-1], GatheredSpan)
    before = (TEXTS[2], [], TEXTS[5])
    after = (TEXTS[0][:40], TEXTS[1], TEXTS[3][:2])
    expected = []
    for known, new in zip(before, after, strict=True):
        fresh = tiny.new_cache()
        expected.append(feed(tiny, fresh, [fresh.add_row()], [[*known, *new]])[-len(new) :])
    assert torch.allclose(found, torch.cat(expected), atol=1e-12)


@torch.inference_mode()
@pytest.mark.parametrize("steps", [1, 2])
def test_what_fails_half_way_leaves_the_rows_as_they_were(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_KEPT", 0)
    tiny, honest, calls = model(), Pages._resize, [0]

    def resize(self: Pages, pages: int, used: int) -> None:
        calls[0] += 1
        if calls[0] == steps:
            raise MemoryError
        honest(self, pages, used)

    cache = tiny.new_cache()
    for text in [[*TEXTS[0], *text] * 5 for text in TEXTS[:4]]:
        feed(tiny, cache, [cache.add_row()], [text])
    cache.add_row()
    monkeypatch.setattr(Pages, "_resize", resize)
    rows = range(5)
    for _ in range(3):
        try:
            found = feed(tiny, cache, rows, [[3]] * 5)
            break
        except MemoryError:
            continue
    assert calls[0] > steps
    texts = [[*TEXTS[0], *text] * 5 for text in TEXTS[:4]]
    expected = torch.cat([by_itself(tiny, text, [3]) for text in texts])
    assert torch.allclose(found[:4], expected, atol=1e-12)


def test_pages_are_made_and_kept_by_the_hundred_before_they_are_used() -> None:
    many = Pages(1, 1, 2, torch.float32, torch.device("cpu"))
    many.add_row()
    many.fill(0, torch.zeros(1, 2, 1, 100, 2))
    made = many.nbytes
    many.drop_row(0)
    many.clear()
    assert many.nbytes == made > 100 * pages.PAGE * 2 * 2 * 4


def test_pages_are_taken_again_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_KEPT", 0)
    some = Pages(1, 1, 2, torch.float32, torch.device("cpu"))
    for row in range(3):
        some.add_row()
        some.fill(row, torch.full((1, 2, 1, 9000 if row == 1 else 100, 2), float(row)))
    full = some.nbytes
    some.drop_row(1)
    assert some.nbytes < full
    assert [torch.unique(some.held(row, 100)).tolist() for row in range(2)] == [[0.0], [2.0]]
    some.drop_row(0)
    some.add_row()
    some.fill(1, torch.ones(1, 2, 1, 100, 2))
    assert len(some._owners) == 6
    assert torch.unique(some.held(1, 100)).tolist() == [1.0]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Span]:
    """The spans that are opened."""
    spans, honest = list[Span](), KVCache.open

    def note(self: KVCache, rows: Any, counts: Any) -> Span:
        spans.append(honest(self, rows, counts))
        return spans[-1]

    monkeypatch.setattr(KVCache, "open", note)
    return spans
