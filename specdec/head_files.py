"""Heads as folders: `head.json` and `head.safetensors`; and the authors' checkpoints."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from specdec.errors import SpecDecError
from specdec.head import FEATURES, AcceptanceHead, HeadConfig
from specdec.stopping import Stopping


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
    """Read a head folder. Raises SpecDecError where it is missing or does not hold what its `head.json` says."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(folder)
    if not (path / "head.json").is_file() or not (path / "head.safetensors").is_file():
        raise SpecDecError(
            f"no acceptance head at {path}: head.json and head.safetensors are needed (python -m specdec train)"
        )
    try:
        told = json.loads((path / "head.json").read_text(encoding="utf-8"))
        reads = tuple(told.pop("reads", ()))
        for name in told.keys() & {"stopping", "cold"}:
            told[name] = told[name] and Stopping(**told[name])
        head = AcceptanceHead(HeadConfig(**told))
        if head.config.features and reads != FEATURES:
            raise SpecDecError(
                f"the head at {path} was made by another version, for other features "
                f"({', '.join(reads) or 'unnamed'}): train it anew (python -m specdec train)"
            )
        _load_weights(head, load_file(path / "head.safetensors"))
    except (TypeError, ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise SpecDecError(f"the head at {path} is damaged: {str(error).splitlines()[0]}") from error
    return head.eval()


def load_authors(state: dict[str, Tensor], *, shared_blocks: bool = True) -> AcceptanceHead:
    """A head from a checkpoint of the authors' form: `*.N.linear.*` for block N and a last linear layer of two outputs.

    Theirs repeat one module, so every block has the same weights (shared_blocks=True keeps them one); no features,
    lag 1, and they were trained at temperature 1. Their uncalibrated output is used as it is.
    """
    blocks = sorted({int(part) for name in state for part in name.split(".") if part.isdigit()})
    last = blocks[-1]
    width = state[_named(state, last, "weight")].shape[1]
    config = HeadConfig(
        width, depth=len(blocks) - 1, features=False, shared_blocks=shared_blocks, lag=1, low=1.0, high=1.0
    )
    head = AcceptanceHead(config)
    mine = {f"out.{kind}": state[_named(state, last, kind)] for kind in ("weight", "bias")}
    for place, number in enumerate(blocks[:-1]):
        mine |= {f"blocks.{place}.linear.{kind}": state[_named(state, number, kind)] for kind in ("weight", "bias")}
    head.load_state_dict(mine)
    return head.eval()


def _named(state: dict[str, Tensor], block: int, kind: str) -> str:
    return next(name for name in state if str(block) in name.split(".") and name.endswith(kind))


def _repeated(name: str) -> bool:
    return name.startswith("blocks.") and not name.startswith("blocks.0.")


def _load_weights(head: AcceptanceHead, state: dict[str, Tensor]) -> None:
    if any(not math.isfinite(float(value.abs().max())) for value in state.values() if value.numel()):
        raise ValueError("its weights hold NaN or infinity")
    missing, unexpected = head.load_state_dict(state, strict=False)
    missing = [name for name in missing if not (head.config.shared_blocks and _repeated(name))]
    if missing or unexpected:
        raise ValueError(f"its tensors do not match head.json (missing {missing}, unexpected {unexpected})")
