"""How well a zoo model solves, measured on questions it was never trained on: greedy, sampled, voted, best of n.

Every prompt and answer passes through the prompt pack, so the figures are those of the roles as layers use them.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from archon.protocols import Role, RoleInputs
from archon.types import Candidate, assistant, user
from archon.zoo.encoding import structure
from archon.zoo.families import Family, Problem
from archon.zoo.generate import Speaker
from archon.zoo.pack import ZooPack

PACK = ZooPack()
TEMPERATURE = 0.7


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, with its 95 % Wilson interval (Wilson 1927).

    independent: how many independent outcomes the `count` are worth; fewer where several belong to one question.
    """

    hits: int
    count: int
    independent: float | None = None

    @property
    def value(self) -> float:
        """hits / count; NaN where nothing was counted."""
        return self.hits / self.count if self.count else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval, within 0..1."""
        if not self.count:
            return 0.0, 1.0
        z, n, p = 1.959964, self.independent or self.count, self.value
        middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, (middle - spread) / (1 + z * z / n)), min(1.0, (middle + spread) / (1 + z * z / n))


def share(outcomes: Sequence[bool]) -> Share:
    """The outcomes as a share."""
    return Share(sum(outcomes), len(outcomes))


def clustered(rows: Sequence[Sequence[bool]]) -> Share:
    """The outcomes of all questions as a share; those of one question are alike, so they count for fewer.

    Worth p·(1 − p) / Var, with Var the variance of the share estimated between questions (Kish 1965, section 5.4), but
    at least one for each question and at most one for each outcome.
    """
    rows = [row for row in rows if row]
    outcomes = list(chain(*rows))
    one = share(outcomes)
    if len(rows) < 2 or one.hits in (0, one.count):
        return Share(one.hits, one.count, float(len(rows)) if rows else None)
    off = [sum(row) - one.value * len(row) for row in rows]
    variance = len(rows) / (len(rows) - 1) * sum(each * each for each in off) / one.count**2
    worth = one.value * (1 - one.value) / variance if variance else one.count
    return Share(one.hits, one.count, min(max(worth, len(rows)), one.count))


@dataclass(frozen=True, slots=True)
class Pool:
    """Questions of one family with a model's samples; `right[i][j]` tells whether sample j of question i is."""

    family: Family
    problems: Sequence[Problem]
    texts: list[list[str]]
    right: list[list[bool]]

    @classmethod
    def marked(cls, family: Family, problems: Sequence[Problem], texts: list[list[str]]) -> "Pool":
        """A pool whose samples are marked now."""
        pairs = [(problem, text) for problem, row in zip(problems, texts, strict=True) for text in row]
        marks = iter(family.mark(pairs))
        return cls(family, problems, texts, [[next(marks) for _ in row] for row in texts])

    def first(self, samples: int) -> "Pool":
        """The same questions with their first samples alone."""
        return Pool(
            self.family, self.problems, [row[:samples] for row in self.texts], [row[:samples] for row in self.right]
        )

    def mixed(self) -> Iterator[tuple[Problem, list[str], list[bool]]]:
        """The questions with right and wrong samples among them: those where judging matters."""
        for problem, row, right in zip(self.problems, self.texts, self.right, strict=True):
            if any(right) and not all(right):
                yield problem, row, right


def inputs(problem: Problem, texts: Sequence[str] = (), **more: object) -> RoleInputs:
    """Role inputs about one problem, with candidates of the given texts."""
    made = tuple(Candidate(str(i), assistant(text), "zoo", "measure") for i, text in enumerate(texts))
    return RoleInputs((user(problem.question),), made, **more)  # type: ignore[arg-type]


def ask(
    speaker: Speaker, role: Role, asked: Sequence[RoleInputs], temperature: float = 0.0, seed: int = 0
) -> list[str]:
    """The texts of one role, one for each input."""
    prompts = [structure([message.to_dict() for message in PACK.render(role, one)]) for one in asked]
    return speaker.say([(name, tuple(parts)) for name, parts in prompts], temperature=temperature, seed=seed)


def sampled(speaker: Speaker, family: Family, problems: Sequence[Problem], samples: int, seed: int = 0) -> Pool:
    """Solutions drawn at `TEMPERATURE`, and marked."""
    asked = [inputs(problem) for problem in problems]
    columns = [ask(speaker, "generate", asked, TEMPERATURE, seed + 9973 * j) for j in range(samples)]
    return Pool.marked(family, problems, [list(row) for row in zip(*columns, strict=True)])


def greedy(speaker: Speaker, family: Family, problems: Sequence[Problem]) -> list[bool]:
    """Whether the greedy answer to each problem is right."""
    texts = ask(speaker, "generate", [inputs(problem) for problem in problems])
    return family.mark(list(zip(problems, texts, strict=True)))


def voted(pool: Pool) -> list[bool]:
    """Whether the most frequent answer to each problem is right; the first drawn wins a tie."""
    return [_elected(pool.family, row, right) for row, right in zip(pool.texts, pool.right, strict=True)]


def _elected(family: Family, row: list[str], right: list[bool]) -> bool:
    answers = [family.answer(text) for text in row]
    return right[answers.index(Counter(answers).most_common(1)[0][0])]


def best_of(pool: Pool) -> list[bool]:
    """Whether at least one sample is right: what a perfect judge would reach."""
    return [any(right) for right in pool.right]


def fused(speaker: Speaker, pool: Pool) -> list[bool]:
    """Whether one fusion of all samples is right."""
    asked = [inputs(p, row) for p, row in zip(pool.problems, pool.texts, strict=True)]
    return pool.family.mark(list(zip(pool.problems, ask(speaker, "fuse", asked), strict=True)))


def together(pools: Sequence[Pool]) -> Pool:
    """The samples of several models on the same questions as one pool."""
    texts = [list(chain(*rows)) for rows in zip(*(pool.texts for pool in pools), strict=True)]
    right = [list(chain(*rows)) for rows in zip(*(pool.right for pool in pools), strict=True)]
    return Pool(pools[0].family, pools[0].problems, texts, right)
