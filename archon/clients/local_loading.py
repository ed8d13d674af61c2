"""From a model's row in the table to what the engine runs: which folder, which dtype, how many threads."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from archon.clients.local_decoding import Decoding, PlainDecoding
from archon.clients.local_jobs import Job, Token
from archon.clients.local_model import LocalModel
from archon.clients.local_text import Encoding
from archon.clients.local_weights import has_safetensors, is_plain_llama, load_llama
from archon.clients.options import Options
from archon.errors import MissingExtraError
from archon.models import ModelSpec

if TYPE_CHECKING:
    from archon.clients.local_draft import Acceleration

_log = logging.getLogger(__name__)
_ZOO = "zoo:"
_SMALL_PARAMETERS = 50_000_000
_READ = frozenset({".json", ".jinja", ".safetensors", ".bin", ".model", ".txt"})
"""Files of a model folder that an answer may depend on."""
_WHOLE, _END = 64 << 20, 1 << 20
_NEEDED = ("torch", "safetensors", "tokenizers", "transformers")


class LocalOptions(Options):
    """`options` of a `local` model."""

    dtype: Literal["auto", "float32", "float64", "bfloat16"] = "auto"
    """What it computes in. auto = float32 where rows are found not to depend on each other, bit for bit, else float64,
    where they differ by 1e-15 and draws practically never do."""
    slots: int = Field(default=128, ge=1, le=1024)
    """Answers written at once; further calls wait. 128 make 15 % more tokens a CPU second than 64, 256 another 7 %."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of this model's own computations. None = 1 for models up to 50 million parameters, else one a core. Small
    products gain nothing from a second thread and lose much where cores are busy; several models run side by side."""
    encoding: Encoding = "auto"
    """How messages become tokens: zoo, chat (the folder's template), plain ("role: text" lines); auto = zoo for zoo
    models, else chat where the folder has a template, else plain."""
    draft: str | None = None
    """A smaller model of the same vocabulary that drafts tokens for this one: a folder or zoo/NAME. None = what the zoo
    says for its own models, none for others. Drafts change how long an answer takes and nothing else."""
    head: str | None = None
    """Folder of the acceptance head trained for the two (`python -m specdec train`)."""
    speculation: bool | str = True
    """on, off, or a stop policy of `specdec` such as `product:0.3`; needs a draft. A request switches it off with the
    sampling field `speculation: off`."""


def find_folder(spec: ModelSpec) -> Path:
    """The folder a model's name stands for: zoo:NAME or a path.

    Raises:
        MissingExtraError: the extra [local] is not installed.
        UnknownNameError: no such zoo model; lists the known ones.
    """
    if any(find_spec(package) is None for package in _NEEDED):
        raise MissingExtraError("local models", "local")
    if not spec.upstream.startswith(_ZOO):
        return Path(spec.upstream).expanduser()
    from archon import zoo

    return zoo.path(spec.upstream.removeprefix(_ZOO))


def fingerprint(folder: Path, context: int) -> str:
    """Hash of what an answer depends on: the folder's files and the room for an answer. New weights, another hash.

    Of a file beyond 64 MiB only the size and both ends are read: the header, with the names of all tensors, and the
    last of them, which training changes.
    """
    digest = sha256(str(context).encode())
    for path in sorted(each for each in folder.iterdir() if each.suffix in _READ and each.is_file()):
        digest.update(f"\0{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            if path.stat().st_size <= _WHOLE:
                digest.update(file.read())
            else:
                digest.update(file.read(_END))
                file.seek(-_END, os.SEEK_END)
                digest.update(file.read(_END))
    return digest.hexdigest()


def is_zoo(spec: ModelSpec) -> bool:
    """Whether a model is one of the zoo's by name."""
    return spec.upstream.startswith(_ZOO)


def loader(
    folder: Path,
    config: Mapping[str, Any],
    options: LocalOptions,
    found: Acceleration | None = None,
    ends: frozenset[int] = frozenset(),
) -> Callable[[], tuple[Decoding, Callable[[Job], tuple[Token, ...]]]]:
    """What the engine's thread calls first: loads the model and sets the threads of its computations."""

    def load() -> tuple[Decoding, Callable[[Job], tuple[Token, ...]]]:
        import torch

        torch.set_num_threads(
            options.threads or (1 if _parameters(config) <= _SMALL_PARAMETERS else os.cpu_count() or 1)
        )
        model = load_model(folder, config, options.dtype)
        plain = PlainDecoding(model)
        decoding = _accelerated(plain, model, config, found, ends) if found else plain
        return decoding, lambda job: score(model, job)

    return load


def _accelerated(
    plain: PlainDecoding, model: LocalModel, config: Mapping[str, Any], found: Acceleration, ends: frozenset[int]
) -> Decoding:
    from archon.clients.local_speculation import speculative

    if reason := _cannot_draft(model, config):
        _log.warning("speculation is off: %s", reason)
        return plain
    return speculative(plain, found, ends)


def _cannot_draft(model: LocalModel, config: Mapping[str, Any]) -> str:
    """Why drafts might change what a model answers; "" where they do not."""
    from archon.clients.local_llama import Llama
    from archon.clients.local_probe import block_invariant

    if not isinstance(model, Llama):
        return "only plain Llama folders in safetensors take drafts"
    # Large models are not promised to give the same bits in any company either.
    exact = model.dtype_name == "float64" or _parameters(config) > _SMALL_PARAMETERS or block_invariant(model)
    return "" if exact else f"on this machine {model.dtype_name} rounds a block of tokens otherwise than one by one"


def load_model(folder: Path, config: Mapping[str, Any], dtype: str) -> LocalModel:
    """The model of a folder in the dtype asked for, see `LocalOptions.dtype`."""
    import torch

    if not (is_plain_llama(config) and has_safetensors(folder)):
        from archon.clients.local_fallback import TransformersModel

        return TransformersModel(folder, torch.float32 if dtype == "auto" else getattr(torch, dtype))
    if dtype != "auto":
        return load_llama(folder, config, getattr(torch, dtype))
    from archon.clients.local_probe import row_invariant

    model = load_llama(folder, config, torch.float32)
    if _parameters(config) > _SMALL_PARAMETERS or row_invariant(model):
        return model
    return load_llama(folder, config, torch.float64)


def score(model: LocalModel, job: Job) -> tuple[Token, ...]:
    """The log probability of each token of a given continuation, by teacher forcing in one forward."""
    from archon.clients.local_sampling import chances

    logits = model.logits([*job.prompt, *job.scored[:-1]], len(job.prompt) - 1)
    return tuple(
        Token(token, own, tuple(best))
        for token, (own, best) in zip(job.scored, chances(logits, job.scored, 0), strict=True)
    )


def context_of(config: Mapping[str, Any], spec: ModelSpec) -> int:
    """The longest prompt and answer together: what the folder says, or less where the table says less."""
    found = config.get("max_position_embeddings") or config.get("n_positions") or config.get("n_ctx")
    return min(value for value in (found, spec.context, 2**31) if value)


def _parameters(config: Mapping[str, Any]) -> int:
    """Roughly, from the configuration; a big number where it does not say."""
    try:
        hidden, layers = config["hidden_size"], config["num_hidden_layers"]
        inner, words = config.get("intermediate_size", 4 * hidden), config["vocab_size"]
        return int(layers * hidden * (4 * hidden + 3 * inner) + words * hidden)
    except (KeyError, TypeError):
        return 2**62
