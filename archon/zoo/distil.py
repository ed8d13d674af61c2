"""Distillation: a draft model learns to say what its teacher would say next, token by token.

The draft of speculative decoding is as useful as its distribution is near the target's, right answers or not, so the
loss is the cross entropy against the teacher's own probabilities (Hinton et al. 2015), on answers the teacher drew
itself, for those are the texts that will be drafted for (Zhou et al. 2023, DistillSpec, arXiv 2310.08461), and now and
then on the answers of fresh lessons.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from archon.zoo import path
from archon.zoo.encoding import encode
from archon.zoo.generate import Prompt, Speaker
from archon.zoo.lessons import Lesson, example, micro_batches, step_lessons
from archon.zoo.network import shrink
from archon.zoo.recipes import Recipe
from archon.zoo.train import Trainer

if TYPE_CHECKING:
    import torch

_DRAWN = 40_000  # answers the teacher draws, one a prompt; what it says of them takes 3 GB
_LONGEST_PROMPT, _LONGEST = 300, 160  # tokens of its prompt and of the answer
_TEMPERATURES = (0.0, 0.7, 1.0)
_FRESH = 8  # every so many steps the lessons are fresh ones
_READ = 8192  # tokens of answers that the teacher reads at once


class Distiller(Trainer):
    """A `Trainer` whose lessons are the teacher's."""

    def __init__(self, made_by: Recipe, folder: Path, *, drawn: int = _DRAWN) -> None:
        super().__init__(made_by, folder)
        if made_by.teacher is None:
            raise ValueError(f"zoo: the recipe of {made_by.name!r} names no teacher to distil")
        self.teacher, self._count = Speaker.load(path(made_by.teacher)), drawn
        if made_by.hidden == self.teacher.model.config.hidden_size:
            shrink(self.teacher.model, self.model)
        self._own = self._teachers_answers()
        self._known = self._foreseen_own()

    def _lessons(self) -> list[Lesson]:
        if self.step % _FRESH == 0:
            return step_lessons(self.vocabulary, self.recipe, self.step)
        rng, chosen, tokens = random.Random(f"distil:{self.recipe.seed}:{self.step}"), list[Lesson](), 0
        while tokens < self.recipe.step_tokens:
            chosen.append(rng.choice(self._own))
            tokens += len(chosen[-1].ids)
        return sorted(chosen, key=lambda made: len(made.ids))

    def _loss(self, batch: list[Lesson], emphasis: float) -> "torch.Tensor":
        """Summed cross entropy of the draft against the teacher's probabilities on the answer tokens of one batch."""
        import torch

        ids, taught = _padded(batch)
        hidden = self.model.model(input_ids=ids, use_cache=False).last_hidden_state
        logits = self.model.lm_head(hidden[:, :-1][taught])
        known = [self._known.get(id(made)) for made in batch]
        kept = [one.float() for one in known if one is not None]
        wanted = torch.cat(kept) if len(kept) == len(batch) else self._foreseen(ids, taught)
        return torch.nn.functional.cross_entropy(logits.float(), wanted, reduction="sum")

    def _foreseen(self, ids: "torch.Tensor", taught: "torch.Tensor") -> "torch.Tensor":
        """The teacher's probabilities at the places that are taught: [places, vocabulary]."""
        import torch

        with torch.no_grad():
            hidden = self.teacher.model.model(input_ids=ids, use_cache=False).last_hidden_state
            foreseen: torch.Tensor = self.teacher.model.lm_head(hidden[:, :-1][taught]).float().softmax(-1)
            return foreseen

    def _foreseen_own(self) -> "dict[int, torch.Tensor]":
        """The teacher's probabilities on its own answers, once for all, in float16."""
        import torch

        known = dict[int, torch.Tensor]()
        for batch in micro_batches(sorted(self._own, key=lambda made: len(made.ids)), _READ):
            ids, taught = _padded(batch)
            lines = torch.split(self._foreseen(ids, taught).half(), taught.sum(1).tolist())
            # Of its own, each: views of one batch's would keep all of it in memory.
            known |= {id(made): line.clone() for made, line in zip(batch, lines, strict=True)}
        return known

    def _teachers_answers(self) -> list[Lesson]:
        """Answers drawn from the teacher on prompts of the training split; kept in a file, for they take minutes."""
        file = self.folder / "drawn.jsonl"
        if not file.exists():
            fresh = file.with_suffix(".new")
            fresh.write_text("".join(json.dumps(row) + "\n" for row in self._drawn()))
            fresh.replace(file)
        rows = (json.loads(line) for line in file.read_text().splitlines())
        return [Lesson(prompt + answer, len(prompt), len(prompt + answer)) for prompt, answer in rows]

    def _drawn(self) -> list[tuple[list[int], list[int]]]:
        from specdec import Sampling, SpecDecoder

        rng, part = random.Random(f"drawn:{self.recipe.seed}"), self.recipe.parts[0]
        roles, weights = zip(*(part.shares or self.recipe.shares), strict=True)
        prompts = list[list[int]]()
        while len(prompts) < self._count:
            ids = encode(self.vocabulary, *self._prompt(rng, rng.choices(roles, weights)[0]))
            if len(ids) <= _LONGEST_PROMPT:
                prompts.append(ids)
        samplings = [
            Sampling(temperature=_TEMPERATURES[i % len(_TEMPERATURES)], max_tokens=_LONGEST, seed=i)
            for i in range(len(prompts))
        ]
        said = SpecDecoder(path(self.recipe.teacher or "")).generate(prompts, samplings)
        return [(prompt, list(answer.tokens)) for prompt, answer in zip(prompts, said, strict=True)]

    def _prompt(self, rng: random.Random, role: str) -> Prompt:
        made = example(rng, role, self.recipe, replace(self.recipe.parts[0], vary=True))
        return made.role, made.parts


def _padded(batch: Sequence[Lesson]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Token ids, padded on the right, int64 [lessons, width], and which of those after the first are taught, bool
    [lessons, width - 1]."""
    import torch

    width = max(len(made.ids) for made in batch)
    ids = torch.tensor([made.ids + [0] * (width - len(made.ids)) for made in batch])
    taught = torch.tensor([[made.prompt <= i < len(made.ids) for i in range(1, width)] for made in batch])
    return ids, taught
