"""What can be said of model and head folders from their small files alone; imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from specdec.errors import SpecDecError
from specdec.head_config import read_head_config


def read_config(folder: str | Path) -> dict[str, Any]:
    """`config.json` of a model folder. Raises SpecDecError where there is none, or none that can be read."""
    file = Path(folder) / "config.json"
    if not file.is_file():
        raise SpecDecError(f"no model at {folder}: a Hugging Face folder with config.json and weights is needed")
    return _object(file)


def check_vocabulary(target: str | Path, draft: str | Path) -> None:
    """Refuse a draft that does not speak the target's vocabulary."""
    require_one_vocabulary(
        *(
            (Path(folder).name, read_config(folder).get("vocab_size"), _vocabulary(Path(folder)))
            for folder in (target, draft)
        )
    )


Speaker = tuple[str, int | None, object]
"""A model's name, how many tokens it has, and what it calls them; None = not known."""


def require_one_vocabulary(target: Speaker, draft: Speaker) -> None:
    """Refuse models that do not speak the same."""
    (name, size, tokens), (other, others, theirs) = target, draft
    if size != others:
        why = f"target {name} has {size} tokens and draft {other} {others}"
    elif tokens is not None and theirs is not None and tokens != theirs:
        why = f"target {name} and draft {other} name their tokens differently"
    else:
        return
    raise SpecDecError(f"{why}: both need one vocabulary; take a draft made with the target's tokenizer")


def check_head(head: str | Path, draft: str | Path) -> None:
    """Refuse a head folder that is incomplete, damaged or of another version, or a head that was trained on another
    width than the draft's."""
    config = read_head_config(head)
    config.check(read_config(draft).get("hidden_size") or 0, Path(draft).name)


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecDecError(f"{file} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise SpecDecError(f"{file} holds no JSON object")
    return found


def _vocabulary(path: Path) -> object:
    """Token names of a `tokenizer.json`; None where there is none to compare."""
    try:
        raw = json.loads((path / "tokenizer.json").read_text(encoding="utf-8"))
        return raw["model"]["vocab"], [(token["id"], token["content"]) for token in raw.get("added_tokens", [])]
    except (OSError, ValueError, KeyError, TypeError):
        return None
