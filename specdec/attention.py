"""Attention of rows of unlike length: those of like length together, each of the others to its own keys alone.

Rows that attend together each cost what the longest of them does. Which rows go together is `Span`'s to say; here it is
done.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from specdec.spans import PagedSpan, Span


def attend(queries: Tensor, keys: Tensor, values: Tensor, span: Span, *, grouped: bool) -> Tensor:
    """What the queries see, [n, heads, width, head_dim] → the same shape.

    keys, values: as `Span.store` returns them, [rows, kv_heads, slots, head_dim] or in pages. grouped: heads share keys
    (arXiv 2305.13245).
    """
    if isinstance(span, PagedSpan):
        return _by_page(queries, keys, values, span)
    if not span.alone:
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=span.mask, enable_gqa=grouped)
    if span.shared:
        mine = keys[:, :, : span.shared], values[:, :, : span.shared]
        mixed = F.scaled_dot_product_attention(queries, *mine, attn_mask=span.mask, enable_gqa=grouped)
    else:
        # Heads side by side, so that what follows can read them without a copy.
        mixed = torch.empty_like(queries.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)
    for line, row, end, mask in span.alone:
        mixed[line : line + 1] = F.scaled_dot_product_attention(
            queries[line : line + 1],
            keys[row : row + 1, :, :end],
            values[row : row + 1, :, :end],
            attn_mask=mask,
            enable_gqa=grouped,
        )
    return mixed


def _by_page(queries: Tensor, keys: Tensor, values: Tensor, span: PagedSpan) -> Tensor:
    """Every page is asked its row's queries, all in one product; what it answers is weighed against the row's other
    pages by the largest score of them all."""
    n, heads, width, dim = queries.shape
    pages, kv_heads = keys.shape[:2]
    asked = queries.reshape(n, -1).index_select(0, span.owner).view(pages * kv_heads, -1, dim)
    assert span.mask is not None
    scores = torch.bmm(asked, keys.flatten(0, 1).transpose(1, 2)).view(pages, heads, width, -1)
    scores = torch.add(span.mask, scores, alpha=dim**-0.5)
    peaks = scores.amax(-1).view(pages, -1).index_select(0, span.table.view(-1))
    highest = peaks.view(n, -1, heads, width).amax(1).index_select(0, span.owner)
    weights = scores.sub_(highest.unsqueeze(-1)).exp_()
    found = torch.bmm(weights.view(pages * kv_heads, -1, weights.shape[-1]), values.flatten(0, 1))
    total = scores.new_zeros(n, heads, width).index_add_(0, span.owner, weights.sum(-1))
    mixed = scores.new_zeros(n, heads, width, dim).index_add_(0, span.owner, found.view(pages, heads, width, dim))
    return mixed / total.unsqueeze(-1)
