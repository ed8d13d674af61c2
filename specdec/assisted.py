"""Hugging Face's assisted generation of the same pair, for comparison: one prompt at a time, as it only takes one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from specdec.decoder import Generation
from specdec.params import Sampling


class Assisted:
    """A system for `specdec.bench`: loads both folders once; counts only the tokens. Its defaults are left as they
    are."""

    reading = None  # its first pass reads the prompt and verifies a draft in one

    def __init__(self, target: str | Path, draft: str | Path, dtype: torch.dtype = torch.float32) -> None:
        from transformers import AutoModelForCausalLM

        self._target, self._draft = (
            AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True).eval()
            for folder in (target, draft)
        )

    def generate(self, prompts: Sequence[list[int]], samplings: Sequence[Sampling], /) -> list[Generation]:
        """One after the other."""
        lines = zip(prompts, samplings, strict=True)
        return [_one(self._target, self._draft, prompt, sampling) for prompt, sampling in lines]


def _one(target: Any, draft: Any, prompt: list[int], sampling: Sampling) -> Generation:
    heat: dict[str, Any] = {"do_sample": False}
    if sampling.temperature > 0:
        heat = {"do_sample": True, "temperature": sampling.temperature, "top_k": 0, "top_p": 1.0}
    ids = torch.tensor([prompt])
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(sampling.seed or 0)
        output = target.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            assistant_model=draft,
            max_new_tokens=sampling.max_tokens,
            pad_token_id=0,
            **heat,
        )
    tokens = tuple(output[0, len(prompt) :].tolist())
    return Generation(len(prompt), tokens, "", "length", None, 0, 0, 0)
