"""Listwise ranking: one call sees all candidates and orders them; in chunks and rounds where they do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, zip_longest

from archon.protocols import Ranking
from layers._asking import Asking, Chunk
from layers._attempts import attempted
from layers._chunks import brought_closer


async def listwise(candidates: Chunk, asking: Asking, keep: int) -> Chunk:
    """All candidates, best first, with scores where every chunk was ranked; one that was not keeps its order."""
    left, behind, told = candidates, Chunk(), True
    while True:
        chunks = brought_closer(left, asking)
        orders = await attempted([_ordered(chunk, asking, keep) for chunk in chunks], asking.ctx, "ranking")
        told = told and None not in orders
        ranked = [order or chunk for order, chunk in zip(orders, chunks, strict=True)]
        if len(ranked) == 1:
            return _scored((*ranked[0], *behind)) if told else (*ranked[0], *behind)
        left = tuple(chain.from_iterable(order[: _half(order)] for order in ranked))
        behind = (*_by_place([order[_half(order) :] for order in ranked]), *behind)


async def _ordered(chunk: Chunk, asking: Asking, keep: int) -> Chunk | None:
    """The chunk in the model's order; None when the answer could not be parsed."""
    if len(chunk) == 1:
        return chunk
    output = await asking.ask(chunk)
    if not isinstance(output, Ranking):
        asking.ctx.note("fallback", f"the ranking of {len(chunk)} candidates could not be parsed; their order is kept")
        return None
    rest = [index for index in range(len(chunk)) if index not in output.order]
    if len(output.order) < min(keep, len(chunk)):
        asking.ctx.note("incomplete", f"a ranking left out {len(rest)} of {len(chunk)} candidates; they come last")
    return tuple(chunk[index] for index in (*output.order, *rest))


def _half(order: Chunk) -> int:
    return (len(order) + 1) // 2


def _by_place(orders: Sequence[Chunk]) -> Chunk:
    """The first of each order, then the second of each, …"""
    return tuple(each for place in zip_longest(*orders) for each in place if each is not None)


def _scored(order: Chunk) -> Chunk:
    return tuple(replace(each, score=(len(order) - place) / len(order)) for place, each in enumerate(order))


def worst_case(candidates: int) -> int:
    """Calls beyond the first, at most: each but the last puts one candidate behind, and each may need a repair."""
    return 2 * (candidates - 1) - 1
