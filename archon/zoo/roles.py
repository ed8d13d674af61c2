"""Training examples for every role a layer may ask of a model: prompt parts and the answer to learn.

Wherever a judgement is asked, the answer begins with the model's own working and the judgement follows on the next
lines: a small model can only judge what it has worked out. `drawn(rng, role, problem)` makes one example.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from archon.zoo.ledger import LedgerProblem
from archon.zoo.mistakes import wrong_solution


@dataclass(frozen=True, slots=True)
class Example:
    """One lesson: the prompt as `archon.zoo.encoding.encode` takes it, and the answer that earns the loss."""

    role: str
    parts: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody's solution of a problem and whether its final answer is right."""

    text: str
    right: bool


def answer_of(text: str) -> str:
    """The final answer written in a solution text."""
    return text.rpartition("answer ")[2].strip()


def attempts(rng: random.Random, problem: LedgerProblem, most: int, *, fewest: int = 2) -> list[Attempt]:
    """Several solutions of one problem, some wrong; equal ones occur, as they do among a model's samples."""
    share_right, made = rng.choice((0.15, 0.35, 0.5, 0.65, 0.85)), list[Attempt]()
    for _ in range(rng.randint(fewest, most)):
        wrong = [a for a in made if not a.right]
        if rng.random() < share_right:
            made.append(Attempt(problem.solution, True))
        elif wrong and rng.random() < 0.25:
            made.append(rng.choice(wrong))
        else:
            made.append(Attempt(wrong_solution(rng, problem), False))
    return made


def critique_of(problem: LedgerProblem, attempt: Attempt) -> str:
    """Strength and weakness of one attempt: the last right line before the first wrong one, and that wrong one."""
    lines = [line for line in attempt.text.split(" ; ") if not line.startswith("answer")]
    first_wrong = next((i for i, line in enumerate(lines) if line not in problem.steps), len(lines))
    strength = lines[first_wrong - 1] if first_wrong else "nothing"
    weakness = "nothing" if attempt.right else lines[first_wrong] if first_wrong < len(lines) else "too short"
    return f"good {strength} , bad {weakness}"


def _merit(problem: LedgerProblem, attempt: Attempt) -> int:
    return 100 if attempt.right else sum(step in attempt.text for step in problem.steps)


def _parts(rng: random.Random, problem: LedgerProblem, made: list[Attempt], critiqued: float = 0.0) -> tuple[str, ...]:
    parts, with_critiques = [problem.question], rng.random() < critiqued
    for attempt in made:
        parts += ["candidate", attempt.text]
        if with_critiques:
            parts += ["critique", critique_of(problem, attempt)]
    return tuple(parts)


def _solve(rng: random.Random, problem: LedgerProblem) -> Example:
    return Example("solve", (problem.question,), problem.solution)


def _fuse(rng: random.Random, problem: LedgerProblem) -> Example:
    made = attempts(rng, problem, rng.choice((3, 5, 8)) if rng.random() < 0.95 else 24)
    return Example("fuse", _parts(rng, problem, made, 0.4), problem.solution)


def _rank(rng: random.Random, problem: LedgerProblem) -> Example:
    made = attempts(rng, problem, rng.choice((3, 5, 10)) if rng.random() < 0.97 else 24)
    best = sorted(range(len(made)), key=lambda i: -_merit(problem, made[i]))
    order = " > ".join(str(i + 1) for i in best)
    return Example("rank", _parts(rng, problem, made, 0.3), f"{problem.solution}\norder {order}")


def _compare(rng: random.Random, problem: LedgerProblem) -> Example:
    pair = [Attempt(problem.solution, True), Attempt(wrong_solution(rng, problem), False)]
    rng.shuffle(pair)
    return Example("compare", _parts(rng, problem, pair), f"{problem.solution}\nbetter {'A' if pair[0].right else 'B'}")


def _critique(rng: random.Random, problem: LedgerProblem) -> Example:
    made = attempts(rng, problem, rng.choice((2, 4, 4, 10)), fewest=1)
    lines = [f"{i} : {critique_of(problem, attempt)}" for i, attempt in enumerate(made, 1)]
    return Example("critique", _parts(rng, problem, made), "\n".join([problem.solution, *lines]))


def _verify(rng: random.Random, problem: LedgerProblem) -> Example:
    return Example("verify", _parts(rng, problem, attempts(rng, problem, 1, fewest=1)), problem.solution)


def _verdict(rng: random.Random, problem: LedgerProblem) -> Example:
    attempt = Attempt(problem.solution, True) if rng.random() < 0.5 else Attempt(wrong_solution(rng, problem), False)
    parts = (*_parts(rng, problem, [attempt]), "reasoning", problem.solution)
    return Example("verdict", parts, "yes" if attempt.right else "no")


def passes(test: str, attempt: str) -> bool:
    """Whether a solution text passes a natural-language test of the kinds `sound_tests` writes."""
    answer, bound = int(answer_of(attempt)), test.rpartition(" ")[2]
    if test.startswith("uses "):
        return test.removeprefix("uses ") + " =" in attempt
    holds = {"is even": answer % 2 == 0, "is odd": answer % 2 == 1}
    if test in holds:
        return holds[test]
    return {"more": answer > int(bound), "less": answer < int(bound), "ends": str(answer).endswith(bound)}[
        "ends" if test.startswith("ends") else test.split()[1]
    ]


def sound_tests(rng: random.Random, problem: LedgerProblem) -> list[str]:
    """Four or five short tests that a right solution passes."""
    answer, margin = problem.answer, rng.randint(1, 9)
    step = rng.choice(problem.steps).partition(" =")[0]
    return [
        f"is {'odd' if answer % 2 else 'even'}",
        f"ends in {answer % 10}",
        f"uses {step}",
        f"is more than {max(answer - margin, 0)}",
        f"is less than {answer + margin}",
    ]


def _write_tests(rng: random.Random, problem: LedgerProblem) -> Example:
    return Example("write_tests", (problem.question,), "\n".join([problem.solution, *sound_tests(rng, problem)]))


def _judge_tests(rng: random.Random, problem: LedgerProblem) -> Example:
    attempt = problem.solution if rng.random() < 0.4 else wrong_solution(rng, problem)
    tests = sound_tests(rng, problem) + (sound_tests(rng, problem) if rng.random() < 0.2 else [])
    rng.shuffle(tests)
    tests = tests[: rng.randint(1, len(tests))]
    parts = [problem.question, "candidate", attempt]
    for test in tests:
        parts += ["test", test]
    results = [f"{i} {'pass' if passes(test, attempt) else 'fail'}" for i, test in enumerate(tests, 1)]
    return Example("judge_tests", tuple(parts), " ; ".join(results))


MAKERS: Mapping[str, Callable[[random.Random, LedgerProblem], Example]] = MappingProxyType(
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


def drawn(rng: random.Random, role: str, problem: LedgerProblem) -> Example:
    """One training example of `role` about `problem`."""
    return MAKERS[role](rng, problem)
