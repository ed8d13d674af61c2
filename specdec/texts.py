"""The texts a head is trained on: the target's own continuations at the temperatures served."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from specdec.dataset import Text
from specdec.decoder import SpecDecoder
from specdec.errors import SpecDecError
from specdec.params import Sampling
from specdec.progress import Progress
from specdec.prompts import Prompt
from specdec.settings import Training

_AT_ONCE = 256


def make_texts(
    pair: SpecDecoder, prompts: Sequence[Prompt], settings: Training, folder: Path, progress: Progress
) -> tuple[list[Text], list[Text]]:
    """Train and dev texts: the target's continuations. They are kept in `texts.jsonl` as they are written, so that a
    resumed run writes none of them anew."""
    file = folder / "texts.jsonl"
    texts = _kept(file)
    for at in range(len(texts), len(prompts), _AT_ONCE):
        progress.at("texts", at, len(prompts))
        fresh = _continued(pair, prompts, settings, range(at, min(at + _AT_ONCE, len(prompts))))
        with file.open("a", encoding="utf-8") as lines:
            lines.writelines(json.dumps([text.tokens, text.prompt, text.sampling.temperature]) + "\n" for text in fresh)
        texts += fresh
    progress.at("texts", len(texts), len(prompts))
    random.Random(settings.seed).shuffle(texts)
    count = max(1, round(settings.dev * len(texts)))
    return texts[count:], texts[:count]


def _kept(file: Path) -> list[Text]:
    """What was written before, without a last line that a kill cut off."""
    if not file.is_file():
        return []
    try:
        whole, cut, _ = file.read_text(encoding="utf-8").rpartition("\n")
        file.write_text(whole + cut, encoding="utf-8")
        return [
            Text(tuple(tokens), prompt, Sampling(temperature=heat))
            for tokens, prompt, heat in map(json.loads, whole.splitlines())
        ]
    except (ValueError, TypeError) as error:
        raise SpecDecError(f"{file} is damaged ({error}): delete it, and the texts are written anew") from None


def _continued(pair: SpecDecoder, prompts: Sequence[Prompt], settings: Training, which: range) -> list[Text]:
    """The texts of some prompts; each depends on its place alone."""
    heats = [settings.temperatures[i % len(settings.temperatures)] for i in which]
    samplings = [
        Sampling(temperature=heat, max_tokens=settings.tokens, seed=settings.seed + i)
        for i, heat in zip(which, heats, strict=True)
    ]
    ids = [pair.prompt_ids(prompts[i]) for i in which]
    return [
        Text((*before, *result.tokens), len(before), Sampling(temperature=heat))
        for before, result, heat in zip(ids, pair.generate(ids, samplings), heats, strict=True)
    ]
