"""A desk with a `ledger` problem on it: right and wrong workings, what is said of them, and tests in plain words."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from archon.zoo.desk import MARKS, Attempt, Desk
from archon.zoo.ledger import LedgerProblem, solution_text
from archon.zoo.mistakes import wrong_solution
from archon.zoo.paths import Steps, varied


@dataclass(frozen=True)
class LedgerDesk(Desk):
    """`vary` = each working goes a way of its own; `marked` = an answer that is cited stands beside the right one
    and is marked right or wrong: only so do models this small learn to tell equal numbers from unequal ones."""

    rng: random.Random
    problem: LedgerProblem
    vary: bool = True
    cited: bool = True
    marked: bool = True

    @property
    def question(self) -> str:
        return self.problem.question

    def work(self) -> Steps:
        """Right steps."""
        return varied(self.rng, self.problem.steps) if self.vary else self.problem.steps

    def right(self) -> Attempt:
        steps = self.work()
        return Attempt(solution_text(steps), True, steps)

    def wrong(self) -> Attempt:
        steps = self.work()
        return Attempt(wrong_solution(self.rng, steps), False, steps)

    def cite(self, role: str, made: Sequence[Attempt]) -> str:
        if self.marked or not self.cited:
            return super().cite(role, made)
        return " ".join(map(self.known, made)) + " "

    def known(self, attempt: Attempt) -> str:
        given = answer_of(attempt.text)
        return f"{given} {self.problem.answer} {MARKS[attempt.right]}" if self.marked else given

    def strength_and_weakness(self, attempt: Attempt) -> str:
        return critique_of(attempt)

    def merit(self, attempt: Attempt) -> int:
        return 100 if attempt.right else sum(step in attempt.text for step in attempt.steps)

    def tests(self) -> list[str]:
        """Five short tests that a right solution passes, whichever way it was worked."""
        answer, margin = self.problem.answer, self.rng.randint(1, 9)
        step = self.rng.choice(self.problem.steps).partition(" =")[0]
        return [
            f"is {'odd' if answer % 2 else 'even'}",
            f"ends in {answer % 10}",
            # Where there are several ways to the answer, no one step is needed.
            f"has {len(str(answer))} digits" if self.vary else f"uses {step}",
            f"is more than {max(answer - margin, 0)}",
            f"is less than {answer + margin}",
        ]


def answer_of(text: str) -> str:
    """The final answer written in a solution text."""
    return text.rpartition("answer ")[2].strip()


def critique_of(attempt: Attempt) -> str:
    """Strength and weakness of one attempt: the last right line before the first wrong one, and that wrong one."""
    lines = [line for line in attempt.text.split(" ; ") if not line.startswith("answer")]
    first_wrong = next((i for i, line in enumerate(lines) if line not in attempt.steps), len(lines))
    strength = lines[first_wrong - 1] if first_wrong else "nothing"
    weakness = "nothing" if attempt.right else lines[first_wrong] if first_wrong < len(lines) else "too short"
    return f"good {strength} , bad {weakness}"


def passes(test: str, attempt: str) -> bool:
    """Whether a solution text passes a natural-language test of the kinds `LedgerDesk.tests` writes."""
    answer, bound = int(answer_of(attempt)), test.split()[-1]
    if test.startswith("uses "):
        return test.removeprefix("uses ") + " =" in attempt
    if test.startswith("has "):
        return len(str(answer)) == int(test.split()[1])
    holds = {"is even": answer % 2 == 0, "is odd": answer % 2 == 1}
    if test in holds:
        return holds[test]
    if test.startswith("ends in "):
        return str(answer).endswith(bound)
    return {"more": answer > int(bound), "less": answer < int(bound)}[test.split()[1]]
