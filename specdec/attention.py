"""Attention of rows of unlike length: those of like length together, each of the others to its own keys alone.

Rows that attend together each cost what the longest of them does. Which rows go together is `Span`'s to say; here it is
done.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from specdec.spans import Span


def attend(queries: Tensor, keys: Tensor, values: Tensor, span: Span, *, grouped: bool) -> Tensor:
    """What the queries see, [n, heads, width, head_dim] → the same shape.

    keys, values: [rows, kv_heads, slots, head_dim], as `Span.store` returns them. grouped: heads share keys (arXiv
    2305.13245).
    """
    if span.dense and span.mask is not None:
        return _as_one(queries, keys, values, span.mask)
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


def _as_one(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """All rows and heads as one batch of products over one piece of memory."""
    n, heads, width, dim = queries.shape
    scores = torch.bmm(queries.reshape(-1, width, dim), keys.flatten(0, 1).transpose(1, 2))
    weights = torch.softmax(torch.add(mask, scores.view(n, heads, width, -1), alpha=dim**-0.5), dim=-1)
    return torch.bmm(weights.view(n * heads, width, -1), values.flatten(0, 1)).view(n, heads, width, dim)
