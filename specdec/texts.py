"""The texts a head is trained on: the target's own continuations at the temperatures served."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from specdec.dataset import Text
from specdec.decoder import SpecDecoder
from specdec.params import Sampling
from specdec.prompts import Prompt
from specdec.settings import Training

Say = Callable[[str], None]


def make_texts(
    pair: SpecDecoder, prompts: Sequence[Prompt], settings: Training, folder: Path, say: Say
) -> tuple[list[Text], list[Text]]:
    """Train and dev texts: the target's continuations, kept in `texts.json` so that a resumed run writes none anew."""
    file = folder / "texts.json"
    if not file.is_file():
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(_continued(pair, prompts, settings, say)), encoding="utf-8")
        fresh.replace(file)
    texts = [
        Text(tuple(tokens), prompt, Sampling(temperature=heat))
        for tokens, prompt, heat in json.loads(file.read_text(encoding="utf-8"))
    ]
    random.Random(settings.seed).shuffle(texts)
    count = max(1, round(settings.dev * len(texts)))
    return texts[count:], texts[:count]


def _continued(
    pair: SpecDecoder, prompts: Sequence[Prompt], settings: Training, say: Say
) -> list[tuple[list[int], int, float]]:
    heats = [settings.temperatures[i % len(settings.temperatures)] for i in range(len(prompts))]
    samplings = [
        Sampling(temperature=t, max_tokens=settings.tokens, seed=settings.seed + i) for i, t in enumerate(heats)
    ]
    done: list[tuple[list[int], int, float]] = []
    for at in range(0, len(prompts), 256):
        ids = [pair.encode(prompt) for prompt in prompts[at : at + 256]]
        results = pair.generate(ids, samplings[at : at + 256])
        done += [
            ([*before, *result.tokens], len(before), heat)
            for before, result, heat in zip(ids, results, heats[at : at + 256], strict=True)
        ]
        say(f"texts: {len(done)}/{len(prompts)}")
    return done
