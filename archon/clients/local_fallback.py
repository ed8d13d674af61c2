"""Any causal language model that transformers can run: one forward a row, so slower, but rows cannot touch."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archon.clients.local_errors import first_line
from archon.clients.local_model import Prefix, Row
from archon.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_UNSTATED_CONTEXT = 2048


class TransformersModel:
    """A `LocalModel` over transformers' own forward and cache."""

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        self._model: Any = _loaded(folder, dtype)
        self._dtype = dtype
        self._rows: list[Row] = []

    @property
    def context(self) -> int:
        return int(getattr(self._model.config, "max_position_embeddings", None) or _UNSTATED_CONTEXT)

    @property
    def dtype_name(self) -> str:
        return str(self._dtype).removeprefix("torch.")

    def prefill(self, prompts: Sequence[Sequence[int]]) -> list[Prefix]:
        return [self._prefilled(prompt) for prompt in prompts]

    def open(self, prefix: Prefix, owner: Any) -> Row:
        row = Row(owner, prefix.length)
        row.place = deepcopy(prefix.cache)
        self._rows.append(row)
        return row

    def close(self, row: Row, *, broken: bool = False) -> None:
        self._rows.remove(row)

    def advance(self) -> tuple[list[Row], Tensor]:
        import torch

        rows = list(self._rows)
        return rows, torch.stack([self._next(row) for row in rows])

    def logits(self, tokens: Sequence[int], start: int) -> Tensor:
        found: Tensor = self._model(_batch(tokens)).logits[0, start:]
        return found

    def _prefilled(self, prompt: Sequence[int]) -> Prefix:
        found = self._model(_batch(prompt), use_cache=True)
        cache = found.past_key_values
        return Prefix(cache, found.logits[0, -1].clone(), len(prompt), _size(cache))

    def _next(self, row: Row) -> Tensor:
        found = self._model(_batch([row.token]), past_key_values=row.place, use_cache=True)
        row.place = found.past_key_values
        row.length += 1
        logits: Tensor = found.logits[0, -1]
        return logits


def _batch(tokens: Sequence[int]) -> Tensor:
    import torch

    return torch.tensor([list(tokens)])


def _size(cache: Any) -> int:
    """Bytes of what a cache of transformers holds."""
    import torch

    parts = [part for layer in getattr(cache, "layers", ()) for part in vars(layer).values()]
    return sum(part.nbytes for part in parts if isinstance(part, torch.Tensor))


def _loaded(folder: Path, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=dtype, local_files_only=True)
    except Exception as error:  # transformers raises whatever its parts do
        raise ConfigError(
            f"model folder {str(folder)!r}: cannot be loaded ({first_line(error)}); is it a causal LM?"
        ) from None
    return model.eval()
