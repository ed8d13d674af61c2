"""Whose run a folder holds: settings, prompts and models, so that a resumed training never goes on with another's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from specdec.decoder import SpecDecoder
from specdec.errors import SpecDecError
from specdec.head_config import FEATURES, SCALES
from specdec.models import LanguageModel, feed
from specdec.prompts import Prompt
from specdec.settings import Training

_FILE = "run.json"


def claim(folder: Path, pair: SpecDecoder, prompts: Sequence[Prompt], settings: Training) -> None:
    """Note whose run the folder is to hold, before anything else is written to it.

    Raises SpecDecError where it holds that of other settings, prompts or models.
    """
    ids = [pair.prompt_ids(prompt) for prompt in prompts]
    mine = {
        "settings": {**asdict(settings), "temperatures": list(settings.temperatures)},
        "prompts": hashlib.sha256(json.dumps(ids).encode()).hexdigest(),
        "features": [list(FEATURES), list(SCALES)],
        "models": [_likeness(model.model) for model in (pair.target, pair.draft) if model],
    }
    file = folder / _FILE
    if not file.exists():
        file.write_text(json.dumps(mine, indent=1) + "\n", encoding="utf-8")
        return
    other = next((name for name, value in mine.items() if value != _noted(file).get(name)), None)
    if other:
        raise SpecDecError(f"{folder} holds a run with other {other}: give another folder, or delete it")


def _noted(file: Path) -> dict[str, object]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _likeness(model: LanguageModel) -> list[object]:
    """What tells one model from another: its name, its sizes, and what it says of some tokens, roughly."""
    tokens = [token % model.vocab for token in range(8)]
    with torch.inference_mode():
        cache = model.new_cache()
        logits = model.logits(feed(model, cache, [cache.add_row()], [tokens]))
    return [model.name, model.vocab, model.width, logits.argmax(-1).tolist(), round(float(logits.std()), 3)]
