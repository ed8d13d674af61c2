"""Finds out whether this machine computes a row alike, bit for bit, alone and in any company."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archon.clients.local_llama import Llama

if TYPE_CHECKING:
    from torch import Tensor


def row_invariant(model: Llama) -> bool:
    """Whether rows of this model give the same bits alone and in company, on this machine (some milliseconds)."""
    import torch

    candidates = (1, 2, 3, 5, 17, 33, 40, 61, 62, 63, 90, 130, 200, 300)
    lengths = [length for length in candidates if length + 3 < model.context]
    prompts = [[(7 * i * i + 3 * length) % 97 for i in range(length)] for length in lengths]
    together = _probe(model, prompts)
    return all(torch.equal(_probe(model, [prompt])[0], seen) for prompt, seen in zip(prompts, together, strict=True))


def _probe(model: Llama, prompts: list[list[int]]) -> list[Tensor]:
    import torch

    prefixes = model.prefill(prompts)
    opened = [model.open(prefix, None) for prefix in prefixes]
    seen: dict[int, list[Tensor]] = {id(row): [prefix.logits] for row, prefix in zip(opened, prefixes, strict=True)}
    for token in (5, 6, 7):
        for row in opened:
            row.token = token
        for row, logits in zip(*model.advance(), strict=True):
            seen[id(row)].append(logits)
    for row in opened:
        model.close(row)
    return [torch.stack(seen[id(row)]) for row in opened]
