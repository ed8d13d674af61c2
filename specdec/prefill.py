"""Bringing a cache up to a row's last token but one, each distinct prompt computed once."""

from __future__ import annotations

from collections.abc import Sequence

from specdec.cache import KVCache
from specdec.models import LanguageModel, read
from specdec.rows import Row

_GROUP = 256
"""Padded tokens in one pass: bounds the memory of its attention mask."""
_PIECE = 512
"""Tokens of one row in one pass."""


def prefill(model: LanguageModel, cache: KVCache, rows: Sequence[Row], at: Sequence[int]) -> None:
    """Fill the cache rows `at` (those of `rows`, so far empty) with all tokens but the last.

    The last token is left out: feeding it is what gives the next token's logits. Samples of one prompt share the work.
    """
    first: dict[tuple[int, ...], int] = {}
    copies: list[tuple[int, int]] = []
    for row, index in zip(rows, at, strict=True):
        known = first.setdefault(tuple(row.tokens[:-1]), index)
        if known != index:
            copies.append((known, index))
    _fill(model, cache, {index: tokens for tokens, index in first.items() if tokens})
    for source, to in copies:
        cache.copy_row(source, to)


def _fill(model: LanguageModel, cache: KVCache, todo: dict[int, tuple[int, ...]]) -> None:
    """todo: cache row → tokens. Rows of like length go together, so that little is padding."""
    by_length = sorted(todo, key=lambda index: len(todo[index]))
    while by_length:
        shortest = len(todo[by_length[0]])
        most = max(1, _GROUP // (2 * min(_PIECE, shortest)))
        group = [index for index in by_length if len(todo[index]) <= 2 * shortest][:most]
        _fill_group(model, cache, {index: todo[index] for index in sorted(group)})
        by_length = [index for index in by_length if index not in group]


def _fill_group(model: LanguageModel, cache: KVCache, todo: dict[int, tuple[int, ...]]) -> None:
    start = 0
    while todo:
        read(model, cache, list(todo), [tokens[start : start + _PIECE] for tokens in todo.values()])
        start += _PIECE
        todo = {index: tokens for index, tokens in todo.items() if len(tokens) > start}
