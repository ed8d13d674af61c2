"""Heads as folders: `head.json` and `head.safetensors`; and the authors' checkpoints."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from specdec.errors import SpecDecError, first_line
from specdec.head import AcceptanceHead
from specdec.head_config import FEATURES, HeadConfig, read_head_config


def save_head(head: AcceptanceHead, folder: str | Path) -> None:
    """Write `head.json` and `head.safetensors`."""
    from safetensors.torch import save_file

    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    told = {**asdict(head.config), "reads": FEATURES if head.config.features else ()}
    (path / "head.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    # Shared blocks are one tensor under several names, which the file format refuses; `load_head` knows that they are
    # one.
    state = {
        name: value for name, value in head.state_dict().items() if not (head.config.shared_blocks and _repeated(name))
    }
    save_file({name: value.contiguous() for name, value in state.items()}, path / "head.safetensors")


def load_head(folder: str | Path) -> AcceptanceHead:
    """Read a head folder. Raises SpecDecError where it is missing, of another version, or does not hold what its
    `head.json` says."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(folder)
    config = read_head_config(path)
    try:
        head = AcceptanceHead(config)
        _load_weights(head, load_file(path / "head.safetensors"))
    except (TypeError, ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise SpecDecError(
            f"the head at {path} is damaged: {first_line(error)}; train it anew (python -m specdec train)"
        ) from error
    return head.eval()


def load_authors(file: str | Path | Mapping[str, Tensor], *, shared_blocks: bool = True) -> AcceptanceHead:
    """A head from a checkpoint of the authors' form: `*.N.linear.*` for block N and a last linear layer of two outputs.
    file: as `torch.save` writes it, or .safetensors; or the tensors by name.

    Theirs repeat one module, so every block has the same weights (shared_blocks=True keeps them one); no features,
    lag 1, and they were trained at temperature 1. Their uncalibrated output is used as it is. Raises SpecDecError where
    the file is missing or holds something else.
    """
    state = file if isinstance(file, Mapping) else _read_state(Path(file))
    try:
        *blocks, last = sorted({int(part) for name in state for part in name.split(".") if part.isdigit()})
        mine = {f"out.{kind}": _named(state, last, kind) for kind in _KINDS}
        for place, number in enumerate(blocks):
            mine |= {f"blocks.{place}.linear.{kind}": _named(state, number, kind) for kind in _KINDS}
        if shared_blocks and any(
            not torch.equal(_named(state, blocks[0], kind), _named(state, number, kind))
            for number in blocks
            for kind in _KINDS
        ):
            raise ValueError("its blocks differ")
        head = AcceptanceHead(
            HeadConfig(
                mine["out.weight"].shape[1], depth=len(blocks), features=False, shared_blocks=shared_blocks, lag=1,
                low=1.0, high=1.0,
            )
        )  # fmt: skip
        _load_weights(head, mine)
    except (ValueError, StopIteration, RuntimeError, IndexError, AttributeError) as error:
        raise SpecDecError(
            "no head of the authors' form: blocks `N.linear.weight` and `N.linear.bias`, alike if they are shared, and "
            f"a last linear layer of two outputs are needed, and these are {', '.join(map(str, state)) or 'no tensors'}"
        ) from error
    return head.eval()


_KINDS = ("weight", "bias")


def _read_state(file: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except (OSError, RuntimeError, LookupError, ValueError, EOFError, UnpicklingError, SafetensorError) as error:
        raise SpecDecError(f"no checkpoint can be read at {file}: {first_line(error)}") from None
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise SpecDecError(f"{file} holds no tensors by name")
    return found


def _named(state: Mapping[str, Tensor], block: int, kind: str) -> Tensor:
    return next(value for name, value in state.items() if str(block) in name.split(".") and name.endswith(kind))


def _repeated(name: str) -> bool:
    return name.startswith("blocks.") and not name.startswith("blocks.0.")


def _load_weights(head: AcceptanceHead, state: dict[str, Tensor]) -> None:
    if any(not math.isfinite(float(value.abs().max())) for value in state.values() if value.numel()):
        raise ValueError("its weights hold NaN or infinity")
    missing, unexpected = head.load_state_dict(state, strict=False)
    missing = [name for name in missing if not (head.config.shared_blocks and _repeated(name))]
    if missing or unexpected:
        raise ValueError(f"its tensors do not match head.json (missing {missing}, unexpected {unexpected})")
