"""Any decoder-only model of transformers beside our own cache: full attention only, positions given token by token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from specdec.cache import KVCache
from specdec.errors import SpecDecError
from specdec.spans import Span


class TransformersModel:
    """See `specdec.models.LanguageModel`. Slower than `LeanLlama` for small models, right for every architecture that
    attends to its whole past through `past_key_values.update` and whose logits are its output layer's; others are
    refused. A model in half precision computes so; what leaves it is float32, in which sampling is done."""

    def __init__(self, model: Any, name: str) -> None:
        config = model.config
        _require_full_attention(config, name)
        self.name, self.vocab, self.width = name, int(config.vocab_size), int(config.hidden_size)
        self.context, self.device = int(config.max_position_embeddings), model.device
        self._own = model.dtype
        self.dtype = torch.float32 if self._own in (torch.float16, torch.bfloat16) else self._own
        self._body, self._unembed = model.get_decoder(), model.get_output_embeddings()
        self._layers = int(config.num_hidden_layers)
        self._kv_heads = int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
        self._dim = int(getattr(config, "head_dim", None) or self.width // config.num_attention_heads)
        self._require_own_logits(model)

    def new_cache(self) -> KVCache:
        return KVCache(self._layers, self._kv_heads, self._dim, self._own, self.device)

    def hidden(self, ids: Tensor, span: Span) -> Tensor:
        """int64 [n·width] → [n·width, hidden]."""
        out = self._body(
            input_ids=ids.view(span.rows, span.width),
            # Padding may lie past the context, where a model with learnt positions has none.
            position_ids=span.positions.clamp(max=self.context - 1).view(span.rows, span.width),
            attention_mask=_whole_mask(span, self._own),
            past_key_values=_Bridge(span),
            use_cache=True,
        )
        hidden: Tensor = out.last_hidden_state
        return hidden.reshape(-1, self.width).to(self.dtype)

    def read(self, ids: Tensor, span: Span) -> None:
        """Fill the cache with int64 [n·width]."""
        self.hidden(ids, span)

    def logits(self, hidden: Tensor) -> Tensor:
        """[n, hidden] → [n, vocab]."""
        lines: Tensor = self._unembed(hidden.to(self._own))
        return lines.to(self.dtype)

    def _require_own_logits(self, model: Any) -> None:
        """Some models scale or cap what their output layer gives; whoever leaves that out draws from another law."""
        cache, ids = self.new_cache(), torch.arange(min(3, self.vocab), device=self.device)
        with torch.inference_mode():
            mine = self.logits(self.hidden(ids, cache.open([cache.add_row()], [len(ids)])))
            theirs = model(ids.unsqueeze(0), use_cache=False).logits[0].to(self.dtype)
        if not torch.allclose(mine, theirs, rtol=1e-2, atol=1e-3 * float(theirs.abs().max())):
            raise SpecDecError(
                f"model {self.name} ({model.config.model_type}) does more to its logits than its output layer: "
                "it cannot be run exactly here"
            )


class _Bridge:
    """What transformers takes for its cache: hands each layer's new keys and values to the span."""

    is_compileable = False

    def __init__(self, span: Span) -> None:
        self._span = span

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """[n, kv_heads, width, head_dim] each → the same with all keys and values seen so far."""
        new = torch.stack((keys, values), dim=1).permute(0, 3, 1, 2, 4)  # [n, width, 2, kv_heads, head_dim]
        return self._span.update(layer, new.flatten(0, 1))

    def get_seq_length(self, layer: int = 0) -> int:
        return self._span.keys - self._span.width


def _whole_mask(span: Span, dtype: torch.dtype) -> Tensor:
    mask = span.mask
    if mask is None:
        return torch.zeros(span.rows, 1, span.width, span.keys, dtype=dtype, device=span.positions.device)
    return mask if mask.dim() == 4 else mask[None, None]


def _require_full_attention(config: Any, name: str) -> None:
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    windowed = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    if kinds != {"full_attention"} or (windowed and not getattr(config, "layer_types", None)):
        raise SpecDecError(
            f"model {name} ({config.model_type}) does not attend to its whole past ({', '.join(sorted(kinds))}): "
            "its cache cannot be rolled back; use a model with full attention in every layer"
        )
