"""A desk with a `minicode` task on it: the right function, and functions that miss what was asked by one piece."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from archon.zoo.desk import MARKS, Attempt, Desk
from archon.zoo.minicode import Chain, MiniTask, results, siblings, variants
from archon.zoo.pieces import BY_INPUT

OWN_TESTS = 1


@dataclass(frozen=True)
class CodeDesk(Desk):
    """Attempts are functions; what tells a wrong one is a result that differs from the right one's."""

    rng: random.Random
    task: MiniTask
    cited: bool = True

    @property
    def question(self) -> str:
        return self.task.question

    def right(self) -> Attempt:
        return Attempt(self.task.solution, True)

    def wrong(self) -> Attempt:
        """A function of another meaning, as somebody who misread one piece would write it."""
        calls = (*self.task.examples, *self.task.tests)
        meant = [call.result for call in calls]
        for _ in range(200):
            chain, fault = self.rng.choice(list(self._misread(self.rng.randrange(len(self.task.chain.links)))))
            if results(chain, calls) != meant:
                return Attempt(chain.code, False, fault=fault)
        raise ValueError(f"minicode: no wrong function found for {self.task.question!r}")

    def known(self, attempt: Attempt) -> str:
        return MARKS[attempt.right]

    def strength_and_weakness(self, attempt: Attempt) -> str:
        return "good all , bad nothing" if attempt.right else f"good nothing , bad {attempt.fault}"

    def merit(self, attempt: Attempt) -> int:
        return int(attempt.right)

    def tests(self) -> list[str]:
        """The examples of the task, then calls of one's own, short ones, whose results must be worked out."""
        own = sorted(self.task.tests, key=lambda call: len(str(call)))[:OWN_TESTS]
        return [str(call) for call in (*self.task.examples, *own)]

    def _misread(self, place: int) -> Iterator[tuple[Chain, str]]:
        """Chains with the piece at `place` misread, and what is wrong in them."""
        chain = self.task.chain
        link = chain.links[place]
        alike = [p for p in BY_INPUT[link.piece.takes] if p.gives == link.piece.gives and p is not link.piece]
        others = [*siblings(link.piece), *self.rng.sample(alike, min(2, len(alike)))]
        for other in variants(chain, place, others):
            yield other, other.links[place].said(other.links[place].piece.words[0])
        if "{k}" in link.piece.code:
            other_number = replace(link, k=link.k + self.rng.choice((-1, 1)))
            yield (
                replace(chain, links=(*chain.links[:place], other_number, *chain.links[place + 1 :])),
                other_number.said(link.piece.words[0]),
            )
        last = place == len(chain.links) - 1
        if (last or link.piece.takes == link.piece.gives) and len(chain.links) > 1:
            dropped = replace(chain, links=(*chain.links[:place], *chain.links[place + 1 :]))
            yield dropped, f"not {link.said(link.piece.words[0])}"
        yield chain, "nothing"
