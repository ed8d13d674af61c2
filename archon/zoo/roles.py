"""Training examples for every role a layer may ask of a model: prompt parts and the answer to learn.

Wherever a judgement is asked, the answer begins with the model's own working and the judgement follows on the next
lines: a small model can only judge what it has worked out. `drawn(rng, role, problem)` makes one example.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from archon.zoo.ledger import LedgerProblem, solution_text
from archon.zoo.mistakes import wrong_solution
from archon.zoo.paths import Steps, varied


@dataclass(frozen=True, slots=True)
class Example:
    """One lesson: the prompt as `archon.zoo.encoding.encode` takes it, and the answer that earns the loss."""

    role: str
    parts: tuple[str, ...]
    answer: str

    @property
    def judgement(self) -> int:
        """Where in the answer the judgement begins: after the working, or at once where no working is written."""
        if self.role in ("verdict", "judge_tests"):
            return 0
        end = self.answer.find("\n")
        return len(self.answer) if end < 0 else end


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody's solution of a problem, whether its final answer is right, and the right steps it set out to follow."""

    text: str
    right: bool
    steps: Steps


@dataclass(frozen=True, slots=True)
class Desk:
    """One problem on somebody's desk: `work` is a right way through it, another one each time where `vary` is set."""

    rng: random.Random
    problem: LedgerProblem
    vary: bool
    cited: bool

    def cite(self, *made: Attempt, end: str = " ") -> str:
        """The answers of some attempts, where a judgement is to cite what it compares."""
        return " ".join(answer_of(attempt.text) for attempt in made) + end if self.cited else ""

    def work(self) -> Steps:
        """Right steps."""
        return varied(self.rng, self.problem.steps) if self.vary else self.problem.steps

    def right(self) -> Attempt:
        """A right attempt."""
        steps = self.work()
        return Attempt(solution_text(steps), True, steps)

    def wrong(self) -> Attempt:
        """A wrong attempt."""
        steps = self.work()
        return Attempt(wrong_solution(self.rng, steps), False, steps)

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
        parts, with_critiques = [self.problem.question], self.rng.random() < critiqued
        for attempt in made:
            parts += ["candidate", attempt.text]
            if with_critiques:
                parts += ["critique", self.critique(attempt)]
        return tuple(parts)

    def critique(self, attempt: Attempt) -> str:
        """Strength and weakness of an attempt."""
        return (f"answer {answer_of(attempt.text)} , " if self.cited else "") + critique_of(attempt)


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


def _merit(attempt: Attempt) -> int:
    return 100 if attempt.right else sum(step in attempt.text for step in attempt.steps)


def _solve(desk: Desk) -> Example:
    return Example("solve", (desk.problem.question,), desk.right().text)


def _fuse(desk: Desk) -> Example:
    made = desk.attempts(desk.rng.choice((3, 5, 8)) if desk.rng.random() < 0.95 else 24)
    return Example("fuse", desk.parts(made, 0.4), desk.right().text)


def _rank(desk: Desk) -> Example:
    made = desk.attempts(desk.rng.choice((3, 5, 10)) if desk.rng.random() < 0.97 else 24)
    best = sorted(range(len(made)), key=lambda i: -_merit(made[i]))
    order = " > ".join(str(i + 1) for i in best)
    return Example("rank", desk.parts(made, 0.3), f"{desk.right().text}\n{desk.cite(*made)}order {order}")


def _compare(desk: Desk) -> Example:
    pair = [desk.right(), desk.wrong()]
    desk.rng.shuffle(pair)
    better = "A" if pair[0].right else "B"
    return Example("compare", desk.parts(pair), f"{desk.right().text}\n{desk.cite(*pair)}better {better}")


def _critique(desk: Desk) -> Example:
    made = desk.attempts(desk.rng.choice((2, 4, 4, 10)), fewest=1)
    lines = [f"{i} : {desk.critique(attempt)}" for i, attempt in enumerate(made, 1)]
    return Example("critique", desk.parts(made), "\n".join([desk.right().text, *lines]))


def _verify(desk: Desk) -> Example:
    return Example("verify", desk.parts(desk.attempts(1, fewest=1)), desk.right().text)


def _verdict(desk: Desk) -> Example:
    attempt = desk.right() if desk.rng.random() < 0.5 else desk.wrong()
    reasoning = desk.right()
    parts = (*desk.parts([attempt]), "reasoning", reasoning.text)
    return Example("verdict", parts, desk.cite(attempt, reasoning) + ("yes" if attempt.right else "no"))


def passes(test: str, attempt: str) -> bool:
    """Whether a solution text passes a natural-language test of the kinds `sound_tests` writes."""
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


def sound_tests(desk: Desk) -> list[str]:
    """Five short tests that a right solution passes, whichever way it was worked."""
    answer, margin = desk.problem.answer, desk.rng.randint(1, 9)
    step = desk.rng.choice(desk.problem.steps).partition(" =")[0]
    return [
        f"is {'odd' if answer % 2 else 'even'}",
        f"ends in {answer % 10}",
        # Where there are several ways to the answer, no one step is needed.
        f"has {len(str(answer))} digits" if desk.vary else f"uses {step}",
        f"is more than {max(answer - margin, 0)}",
        f"is less than {answer + margin}",
    ]


def _write_tests(desk: Desk) -> Example:
    return Example("write_tests", (desk.problem.question,), "\n".join([desk.right().text, *sound_tests(desk)]))


def _judge_tests(desk: Desk) -> Example:
    rng, attempt = desk.rng, desk.right() if desk.rng.random() < 0.4 else desk.wrong()
    tests = sound_tests(desk) + (sound_tests(desk) if rng.random() < 0.2 else [])
    rng.shuffle(tests)
    tests = tests[: rng.randint(1, len(tests))]
    parts = [desk.problem.question, "candidate", attempt.text]
    for test in tests:
        parts += ["test", test]
    results = [f"{i} {'pass' if passes(test, attempt.text) else 'fail'}" for i, test in enumerate(tests, 1)]
    return Example("judge_tests", tuple(parts), desk.cite(attempt, end=" ; ") + " ; ".join(results))


MAKERS: Mapping[str, Callable[[Desk], Example]] = MappingProxyType(
    {
        "solve": _solve,
        "fuse": _fuse,
        "rank": _rank,
        "compare": _compare,
        "critique": _critique,
        "verify": _verify,
        "verdict": _verdict,
        "write_tests": _write_tests,
        "judge_tests": _judge_tests,
    }
)


def drawn(rng: random.Random, role: str, problem: LedgerProblem, *, vary: bool = True, cited: bool = True) -> Example:
    """One training example of `role` about `problem`; `vary` = every solution in it is worked in a way of its own;
    `cited` = a judgement first cites the answers it compares."""
    return MAKERS[role](Desk(rng, problem, vary, cited))
