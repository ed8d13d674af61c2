"""Somebody's desk: one problem and the attempts at it, right and wrong, that lessons are made of.

Each task family has a desk of its own (`ledger_desk.py`, `code_desk.py`); what the roles do with it is in `roles.py`.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from archon.zoo.encoding import part_name

MARKS = {True: "yes", False: "no"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody's solution of a problem, whether it is right, and the right way it set out to follow, line by line."""

    text: str
    right: bool
    steps: tuple[str, ...] = ()
    fault: str = "nothing"
    """What is wrong with it, in a few words, where the family can tell."""


class Desk(ABC):
    """One problem on somebody's desk.

    `cited` = a judgement first says what it knows of each attempt.
    """

    rng: random.Random
    cited: bool

    @property
    @abstractmethod
    def question(self) -> str:
        """What is asked."""

    @abstractmethod
    def right(self) -> Attempt:
        """A right attempt."""

    @abstractmethod
    def wrong(self) -> Attempt:
        """A wrong attempt."""

    @abstractmethod
    def known(self, attempt: Attempt) -> str:
        """What a judgement says of an attempt before it judges: its answer, or whether it is right."""

    @abstractmethod
    def strength_and_weakness(self, attempt: Attempt) -> str:
        """What a critique says of an attempt."""

    @abstractmethod
    def merit(self, attempt: Attempt) -> int:
        """By what attempts are ranked, the best highest."""

    @abstractmethod
    def tests(self) -> list[str]:
        """Tests that a right attempt passes."""

    def cite(self, role: str, made: Sequence[Attempt]) -> str:
        """What is known of some attempts, each by its name, where a judgement is to say it first."""
        said = (f"{part_name(role, place)} {self.known(attempt)}" for place, attempt in enumerate(made))
        return " ".join(said) + " " if self.cited else ""

    def critique(self, attempt: Attempt) -> str:
        """Strength and weakness of an attempt."""
        return (f"answer {self.known(attempt)} , " if self.cited else "") + self.strength_and_weakness(attempt)

    def attempts(self, most: int, *, fewest: int = 2) -> list[Attempt]:
        """Several attempts, some wrong; equal ones occur, as they do among a model's samples."""
        rng = self.rng
        share_right, made = rng.choice((0.15, 0.35, 0.5, 0.65, 0.85)), list[Attempt]()
        for _ in range(rng.randint(fewest, most)):
            wrong = [a for a in made if not a.right]
            if rng.random() < share_right:
                made.append(self.right())
            elif wrong and rng.random() < 0.25:
                made.append(rng.choice(wrong))
            else:
                made.append(self.wrong())
        return made

    def parts(self, made: list[Attempt], critiqued: float = 0.0) -> tuple[str, ...]:
        """Prompt parts: the question and the attempts, with critiques in so many of all cases."""
        parts, with_critiques = [self.question], self.rng.random() < critiqued
        for attempt in made:
            parts += ["candidate", attempt.text]
            if with_critiques:
                parts += ["critique", self.critique(attempt)]
        return tuple(parts)
