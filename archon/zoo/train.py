"""Train one model of the zoo: `python -m archon.zoo.train NAME [--steps N | --minutes M] [--threads T] [--out DIR]`.

Seeded and resumable: lessons depend on recipe and step alone, and a checkpoint holds weights, optimiser and step, so
an interrupted run ends with the weights of an uninterrupted one (on the same machine with the same threads).
Progress goes to `DIR/log.jsonl`, one JSON line each: loss now and then, held-out accuracy per role at the end.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archon.zoo.lessons import Lesson, micro_batches, step_lessons
from archon.zoo.network import batch_loss, causal_attention, lesson_weight, new_model
from archon.zoo.recipes import RECIPES, Recipe, recipe
from archon.zoo.vocabulary import Vocabulary, build, save

if TYPE_CHECKING:
    import torch

_MICRO_TOKENS = 2048
_PROBE_STEPS = 20


class Trainer:
    """Weights, optimiser and step of one run."""

    def __init__(self, made_by: Recipe, folder: Path) -> None:
        import torch
        from transformers import AttentionInterface

        self.recipe, self.folder, self.step, self.seconds = made_by, folder, 0, 0.0
        self.measured: int | None = None
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer_file = folder / "tokenizer.json"
        if not tokenizer_file.exists():
            save(build(size=made_by.vocabulary, texts=made_by.texts), folder)
        self.vocabulary = Vocabulary.load(folder)
        self.model = new_model(made_by, self.vocabulary)
        AttentionInterface.register("causal_float32", causal_attention)
        self.model.set_attn_implementation("causal_float32")
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=made_by.parts[0].peak, betas=(0.9, 0.95), weight_decay=0.05
        )

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def resume(self) -> None:
        """Go back to the last checkpoint, if there is one."""
        import torch

        if self.checkpoint.exists():
            stored = torch.load(self.checkpoint, weights_only=True)
            self.model.load_state_dict(stored["model"])
            self.optimizer.load_state_dict(stored["optimizer"])
            self.step, self.seconds = stored["step"], stored["seconds"]
            self._measure(stored["steps"])

    def _measure(self, steps: int | None) -> None:
        """Take `steps`, found from the speed of this machine, in place of the recipe's; None = keep the recipe's."""
        if steps is not None:
            self.measured, self.recipe = steps, self.recipe.scaled(steps)

    def keep(self) -> None:
        """Write a checkpoint; a kill while writing leaves the one before."""
        import torch

        stored = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "steps": self.measured,
        }
        fresh = self.checkpoint.with_suffix(".new")
        torch.save(stored, fresh)
        fresh.replace(self.checkpoint)

    def advance(self) -> float:
        """One optimiser step; returns the mean loss of an answer token."""
        import torch

        begun = time.monotonic()
        lessons = self._lessons()
        emphasis = self.recipe.part(self.step).emphasis
        taught = sum(lesson_weight(made, emphasis) for made in lessons)
        total = 0.0
        for batch in micro_batches(lessons, _MICRO_TOKENS):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = self._loss(batch, emphasis) / taught
            torch.autograd.backward(loss)
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.seconds += time.monotonic() - begun
        return total

    def _lessons(self) -> list[Lesson]:
        """The lessons of the next step."""
        return step_lessons(self.vocabulary, self.recipe, self.step)

    def _loss(self, batch: list[Lesson], emphasis: float) -> "torch.Tensor":
        """The summed loss of one batch."""
        return batch_loss(self.model, batch, emphasis)

    def log(self, **entry: Any) -> None:
        """Append one line to the log, and show it."""
        line = json.dumps({"step": self.step, "minutes": round(self.seconds / 60, 2), **entry})
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)

    def run(self, *, minutes: float | None = None, save_every: int = 200, log_every: int = 50) -> None:
        """Train to the last step of the recipe, or for about `minutes` where given."""
        self.model.train()
        self.log(recipe=asdict(self.recipe))
        losses = list[float]()
        while self.step < self.recipe.steps:
            losses.append(self.advance())
            if minutes is not None and self.step == _PROBE_STEPS:
                self._measure(int(minutes * 60 / (self.seconds / _PROBE_STEPS)))
            if self.step % log_every == 0 or self.step == self.recipe.steps:
                rate = round(self.recipe.rate(self.step), 6)
                self.log(loss=round(sum(losses) / len(losses), 4), rate=rate, of=self.recipe.steps)
                losses = []
            if self.step % save_every == 0 or self.step == self.recipe.steps:
                self.keep()


def held_out(trainer: Trainer, count: int = 100) -> dict[str, Any]:
    """Accuracy per family and role on held-out questions; see `archon.zoo.evaluate.measure`."""
    from archon.zoo import measures
    from archon.zoo.evaluate import JUDGED, judge
    from archon.zoo.families import FAMILIES
    from archon.zoo.generate import Speaker

    trainer.model.set_attn_implementation("sdpa")
    speaker, found = Speaker(trainer.model.eval(), trainer.vocabulary), dict[str, Any]()
    for family in (FAMILIES[name] for name in trainer.recipe.families):
        problems = family.problems(trainer.recipe.seed, count)
        pool = measures.sampled(speaker, family, problems, JUDGED)
        greedy = measures.share(measures.greedy(speaker, family, problems)).value
        found[family.name] = {"greedy": round(greedy, 3), **judge(speaker, pool)}
    return found


def trainer_of(made_by: Recipe, folder: Path) -> Trainer:
    """The trainer a recipe asks for: lessons of its own, or a teacher's."""
    if made_by.teacher is None:
        return Trainer(made_by, folder)
    from archon.zoo.distil import Distiller

    return Distiller(made_by, folder)


def main() -> None:
    """The command line."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=list(RECIPES))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    made_by = recipe(options.name)
    if options.steps:
        made_by = made_by.scaled(options.steps)
    trainer = trainer_of(made_by, options.out or Path("build/zoo") / options.name)
    trainer.resume()
    trainer.run(minutes=options.minutes)
    if made_by.teacher is None:
        trainer.log(held_out=held_out(trainer))


if __name__ == "__main__":
    main()
