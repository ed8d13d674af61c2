"""The lessons of one training step, as token ids: a pure function of recipe and step, so a run can resume anywhere."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from archon.zoo.encoding import EOS, encode
from archon.zoo.ledger import LedgerProblem, draw_problem
from archon.zoo.minicode import MiniTask, draw_task
from archon.zoo.recipes import Part, Recipe, Weights
from archon.zoo.roles import Example, drawn
from archon.zoo.vocabulary import CONTEXT, Vocabulary


@dataclass(frozen=True, slots=True)
class Lesson:
    """Token ids and how many of them are prompt; the rest, end token included, is to be learnt."""

    ids: list[int]
    prompt: int
    judged: int
    """Where the judgement begins that follows the working; the length of `ids` where there is none."""


def example(rng: random.Random, role: str, recipe: Recipe, part: Part) -> Example:
    """One example of `role` and of a part's difficulty, drawn from the training split; `code ROLE` = of `minicode`."""
    family, _, plain = role.rpartition(" ")
    problem: LedgerProblem | MiniTask
    if family == "code":
        problem = draw_task(rng)
    else:
        problem = draw_problem(rng, steps=recipe.problem_steps, largest=part.largest, kinds=dict(recipe.kinds))
    return drawn(rng, plain, problem, vary=part.vary, cited=part.cited, marked=part.marked)


def lesson(vocabulary: Vocabulary, rng: random.Random, role: str, recipe: Recipe, part: Part) -> Lesson:
    """One lesson, as tokens."""
    made = example(rng, role, recipe, part)
    prompt = encode(vocabulary, made.role, made.parts)
    answer = [*vocabulary.plain(made.answer), vocabulary.special(EOS)]
    working = vocabulary.plain(made.answer[: made.judgement])
    return Lesson([*prompt, *answer], len(prompt), len(prompt) + len(working))


def step_lessons(vocabulary: Vocabulary, recipe: Recipe, step: int) -> list[Lesson]:
    """All lessons of one optimiser step, shortest first; each role gets its share of the tokens on average."""
    rng = random.Random(f"lessons:{recipe.seed}:{step}")
    part = recipe.part(step)
    rates = _rates(vocabulary, recipe, part.shares or recipe.shares)
    lessons, tokens = list[Lesson](), 0
    while tokens < recipe.step_tokens:
        role = rng.choices(list(rates), list(rates.values()))[0]
        made = lesson(vocabulary, rng, role, recipe, part)
        if len(made.ids) <= CONTEXT:
            lessons.append(made)
            tokens += len(made.ids)
    return sorted(lessons, key=lambda made: len(made.ids))


def micro_batches(lessons: Sequence[Lesson], limit: int) -> Iterator[list[Lesson]]:
    """Lessons of like length together, each batch of at most `limit` tokens once padded (or a single lesson)."""
    batch = list[Lesson]()
    for made in lessons:
        if batch and len(made.ids) * (len(batch) + 1) > limit:
            yield batch
            batch = []
        batch.append(made)
    if batch:
        yield batch


@lru_cache(maxsize=8)
def _rates(vocabulary: Vocabulary, recipe: Recipe, shares: Weights) -> dict[str, float]:
    """How often each role is drawn so that its tokens come to about the share asked for."""
    rng, sample = random.Random(0), 100
    lengths = {
        role: sum(len(lesson(vocabulary, rng, role, recipe, recipe.parts[0]).ids) for _ in range(sample)) / sample
        for role, _ in shares
    }
    return {role: share / lengths[role] for role, share in shares}
