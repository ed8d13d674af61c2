"""Finds out whether this machine computes a row alike, bit for bit, alone and in any company, and a token alike, fed
alone and in a block of drafted ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archon.clients.local_llama import Llama

if TYPE_CHECKING:
    from torch import Tensor

MOST_DRAFTED = 15
"""Tokens drafted at once: with the one before them 16 rows, up to which a single request's pass has no others."""


def row_invariant(model: Llama) -> bool:
    """Whether rows of this model give the same bits alone and in company, on this machine (some milliseconds)."""
    import torch

    candidates = (1, 2, 3, 5, 17, 33, 40, 61, 62, 63, 90, 130, 200, 300)
    lengths = [length for length in candidates if length + 3 < model.context]
    prompts = [[(7 * i * i + 3 * length) % 97 for i in range(length)] for length in lengths]
    together = _probe(model, prompts)
    return all(torch.equal(_probe(model, [prompt])[0], seen) for prompt, seen in zip(prompts, together, strict=True))


def block_invariant(model: Llama) -> bool:
    """Whether tokens fed in blocks give the same bits as fed one by one, on this machine (some milliseconds)."""
    import torch

    # As wide as blocks get: a token and those drafted after it.
    block = list(range(2, 3 + MOST_DRAFTED))
    lengths = [length for length in (3, 7, 12, 29, 31, 70, 140) if length + len(block) < model.context]
    prompts = [[(5 * i * i + length) % 97 for i in range(length)] for length in lengths]
    single = _fed(model, prompts, [[token] for token in block])
    last = len(block) * (len(prompts) - 1)
    # One row alone and several rows are computed in two ways.
    alone, together = _fed(model, prompts[-1:], [block]), _fed(model, prompts, [block])
    return torch.equal(single, together) and torch.equal(single[last:], alone)


def _fed(model: Llama, prompts: list[list[int]], blocks: list[list[int]]) -> Tensor:
    """Logits after each token of the blocks, fed one block after another to a row of each prompt; in prompts' order."""
    import torch

    opened = [model.open(prefix, None) for prefix in model.prefill(prompts)]
    seen: dict[int, list[Tensor]] = {id(row): [] for row in opened}
    for block in blocks:
        for row in opened:
            row.token, row.drafted = block[0], block[1:]
        rows, logits = model.advance()
        for row, lines in zip(rows, logits.view(len(rows), len(block), -1), strict=True):
            seen[id(row)].append(lines)
    for row in opened:
        model.close(row)
    return torch.cat([lines for row in opened for lines in seen[id(row)]])


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
