"""Loading a Hugging Face causal-LM folder, and the checks that a target and a draft can work together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from specdec.cache import KVCache
from specdec.errors import SpecDecError, first_line
from specdec.files import read_config, require_one_vocabulary
from specdec.spans import Span


class LanguageModel(Protocol):
    """A causal language model as the loop needs it: a pass over new tokens beside a cache, and logits where wanted.

    name: for messages. vocab: width of the logits. width: of the hidden state. context: the most positions.
    """

    name: str
    vocab: int
    width: int
    context: int
    dtype: torch.dtype
    device: torch.device

    def new_cache(self) -> KVCache: ...

    def hidden(self, ids: Tensor, span: Span) -> Tensor:
        """int64 [n·width] → float [n·width, hidden], the last hidden state after the final norm; fills the cache."""
        ...

    def read(self, ids: Tensor, span: Span) -> None:
        """Fill the cache as `hidden` does. What comes after the last keys and values need not be computed."""
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """float [n, hidden] → float [n, vocab]."""
        ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model folder in memory. tokenizer: None where the folder has none; prompts must then be token ids."""

    model: LanguageModel
    tokenizer: Any | None
    bos: int | None
    eos: frozenset[int]


def load(folder: str | Path, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Loaded:
    """Read a folder with `config.json` and weights. Never touches the network.

    Raises SpecDecError where the folder is missing or holds no readable causal language model.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    path = Path(folder)
    read_config(path)
    try:
        with _quiet():
            model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, local_files_only=True).to(device).eval()
        wrapped, tokenizer = wrap(model, path.name), _tokenizer(path)
    except SpecDecError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError, TypeError, SafetensorError) as error:
        raise SpecDecError(f"cannot load {path} as a causal language model: {first_line(error)}") from error
    return Loaded(wrapped, tokenizer, model.config.bos_token_id, _eos(model))


def wrap(model: Any, name: str) -> LanguageModel:
    """A transformers causal LM in memory → LanguageModel: the lean forward where it fits, transformers' own
    elsewhere."""
    from specdec.llama import LeanLlama
    from specdec.transformers_model import TransformersModel

    lean = LeanLlama.fits(model.config) and model.dtype in (torch.float32, torch.float64)
    return LeanLlama.of(model, name) if lean else TransformersModel(model, name)


def check_pair(target: Loaded, draft: Loaded) -> None:
    """Refuse a draft that does not speak the target's vocabulary."""
    require_one_vocabulary(
        *(
            (one.model.name, one.model.vocab, one.tokenizer.get_vocab() if one.tokenizer else None)
            for one in (target, draft)
        )
    )


def feed(model: LanguageModel, cache: KVCache, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> Tensor:
    """Run the model over more tokens of some rows. tokens[i]: those of rows[i], at least one.

    Returns the hidden states of the tokens given, row after row, without padding: [Σ len(tokens[i]), hidden].
    """
    if len(rows) == 1:
        span = cache.open(rows, (len(tokens[0]),))
        return model.hidden(torch.tensor(tokens[0], device=model.device), span)
    counts = [len(some) for some in tokens]
    span = cache.open(rows, counts)
    hidden = model.hidden(_padded(tokens, span.width, model.device), span)
    return hidden if min(counts) == span.width else hidden[_unpadded(counts, span.width, model.device)]


def read(model: LanguageModel, cache: KVCache, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> None:
    """The same for tokens that only later ones need: nothing is returned."""
    span = cache.open(rows, [len(some) for some in tokens])
    model.read(_padded(tokens, span.width, model.device), span)


def _padded(tokens: Sequence[Sequence[int]], width: int, device: torch.device) -> Tensor:
    return torch.tensor([[*some, *[0] * (width - len(some))] for some in tokens], device=device).view(-1)


def _unpadded(counts: Sequence[int], width: int, device: torch.device) -> Tensor:
    return torch.tensor([i * width + j for i, count in enumerate(counts) for j in range(count)], device=device)


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar of transformers' on stderr while a model of some megabytes is read; its setting is put back."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _tokenizer(path: Path) -> Any | None:
    from transformers import AutoTokenizer

    known = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
    if not any((path / name).is_file() for name in known):
        return None
    return AutoTokenizer.from_pretrained(path, local_files_only=True)


def _eos(model: Any) -> frozenset[int]:
    found: set[int] = set()
    for source in (model.config, model.generation_config):
        ids = getattr(source, "eos_token_id", None)
        found |= set(ids) if isinstance(ids, list | tuple) else set() if ids is None else {ids}
    return frozenset(found)
