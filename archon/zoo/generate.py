"""Batched sampling from a model of the zoo, for measuring it: many prompts in one forward, with a KV cache.

Serving has a client of its own; this is the few lines that training and the model card need.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from archon.zoo.encoding import EOS, PAD, encode
from archon.zoo.vocabulary import Vocabulary

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM

_BATCH_TOKENS = 24_000
Prompt = tuple[str, tuple[str, ...]]
"""A role and its parts, as `archon.zoo.encoding.encode` takes them."""


class Speaker:
    """A model with its vocabulary; `say` answers prompts."""

    def __init__(self, model: "LlamaForCausalLM", vocabulary: Vocabulary) -> None:
        self.model, self.vocabulary = model, vocabulary

    @classmethod
    def load(cls, folder: Path) -> "Speaker":
        """The model of a folder, in float32."""
        import torch
        from transformers import LlamaForCausalLM

        model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return cls(model.eval(), Vocabulary.load(folder))

    def say(
        self, prompts: Sequence[Prompt], *, temperature: float = 0.0, seed: int = 0, most: int = 400, batch: int = 128
    ) -> list[str]:
        """One answer to each prompt, in order; temperature 0 is greedy. Prompts of like length run together."""
        ids = [encode(self.vocabulary, role, parts) for role, parts in prompts]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        said = dict[int, str]()
        start = 0
        while start < len(order):
            # The cache of long prompts is moved at every step: fewer of them at once are faster.
            fitting = max(1, _BATCH_TOKENS // len(ids[order[min(start + batch, len(order)) - 1]]))
            chosen = order[start : start + min(batch, fitting)]
            rows = self._batch([ids[i] for i in chosen], temperature, seed + start, most)
            said.update(zip(chosen, map(self._text, rows), strict=True))
            start += len(chosen)
        return [said[i] for i in range(len(ids))]

    def _text(self, ids: list[int]) -> str:
        end = self.vocabulary.special(EOS)
        return self.vocabulary.decode(ids[: ids.index(end)] if end in ids else ids)

    def _batch(self, prompts: list[list[int]], temperature: float, seed: int, most: int) -> list[list[int]]:
        import torch

        pad, end = self.vocabulary.special(PAD), self.vocabulary.special(EOS)
        width = max(map(len, prompts))
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in prompts])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts])
        generator = torch.Generator().manual_seed(seed)
        said, running, cache = list[torch.Tensor](), torch.ones(len(prompts), dtype=torch.bool), None
        with torch.inference_mode():
            while running.any() and len(said) < most:
                places = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
                out = self.model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=places,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
                cache = out.past_key_values
                ids = _pick(out.logits[:, -1].float(), temperature, generator)
                ids[~running] = pad
                said.append(ids)
                running &= ids[:, 0] != end
                mask = torch.cat([mask, torch.ones(len(prompts), 1, dtype=mask.dtype)], 1)
        return torch.cat(said, 1).tolist() if said else [[] for _ in prompts]


def _pick(logits: "torch.Tensor", temperature: float, generator: "torch.Generator") -> "torch.Tensor":
    import torch

    if temperature == 0:
        return logits.argmax(-1, keepdim=True)
    return torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)
