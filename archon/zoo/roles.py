"""Training examples for every role a layer may ask of a model: prompt parts and the answer to learn.

Wherever a judgement is asked, the answer begins with the model's own working and the judgement follows on the next
lines: a small model can only judge what it has worked out. `drawn(rng, role, problem)` makes one example.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from archon.zoo.code_desk import CodeDesk
from archon.zoo.desk import MARKS, Attempt, Desk
from archon.zoo.ledger import LedgerProblem
from archon.zoo.ledger_desk import LedgerDesk, answer_of, passes
from archon.zoo.minicode import MiniTask


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


def _solve(desk: Desk) -> Example:
    return Example("solve", (desk.question,), desk.right().text)


def _fuse(desk: Desk) -> Example:
    made = desk.attempts(desk.rng.choice((3, 5, 8)) if desk.rng.random() < 0.95 else 24)
    return Example("fuse", desk.parts(made, 0.4), desk.right().text)


def _rank(desk: Desk) -> Example:
    made = desk.attempts(desk.rng.choice((3, 5, 10)) if desk.rng.random() < 0.97 else 24)
    best = sorted(range(len(made)), key=lambda i: -desk.merit(made[i]))
    order = " > ".join(str(i + 1) for i in best)
    return Example("rank", desk.parts(made, 0.3), f"{desk.right().text}\n{desk.cite('rank', made)}order {order}")


def _compare(desk: Desk) -> Example:
    pair = [desk.right(), desk.wrong()]
    desk.rng.shuffle(pair)
    better = "A" if pair[0].right else "B"
    return Example("compare", desk.parts(pair), f"{desk.right().text}\n{desk.cite('compare', pair)}better {better}")


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
    return Example("verdict", parts, _matched(desk, attempt, reasoning))


def _match(desk: Desk) -> Example:
    """A verdict on bare answers: the exercise in which a model learns to tell equal numbers from unequal ones."""
    attempt, reasoning = desk.right() if desk.rng.random() < 0.5 else desk.wrong(), desk.right()
    given, known = answer_of(attempt.text), answer_of(reasoning.text)
    parts = ("", "candidate", f"answer {given}", "reasoning", f"answer {known}")
    return Example("verdict", parts, _matched(desk, attempt, reasoning))


def _matched(desk: Desk, attempt: Attempt, reasoning: Attempt) -> str:
    stated = isinstance(desk, LedgerDesk) and desk.cited
    cited = f"{answer_of(attempt.text)} {answer_of(reasoning.text)} " if stated else ""
    return cited + MARKS[attempt.right]


def _write_tests(desk: Desk) -> Example:
    # A function needs no working first: its tests are the examples it was given.
    working = desk.right().text if isinstance(desk, LedgerDesk) else ""
    return Example("write_tests", (desk.question,), "\n".join([working, *desk.tests()]))


def _judge_tests(desk: Desk) -> Example:
    """Tests in plain words; those of functions are run, not judged."""
    rng, attempt = desk.rng, desk.right() if desk.rng.random() < 0.4 else desk.wrong()
    tests = desk.tests() + (desk.tests() if rng.random() < 0.2 else [])
    rng.shuffle(tests)
    tests = tests[: rng.randint(1, len(tests))]
    parts = [desk.question, "candidate", attempt.text]
    for test in tests:
        parts += ["test", test]
    results = [f"{i} {'pass' if passes(test, attempt.text) else 'fail'}" for i, test in enumerate(tests, 1)]
    cited = f"{answer_of(attempt.text)} ; " if desk.cited else ""
    return Example("judge_tests", tuple(parts), cited + " ; ".join(results))


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
        "match": _match,
    }
)


def drawn(
    rng: random.Random,
    role: str,
    problem: LedgerProblem | MiniTask,
    *,
    vary: bool = True,
    cited: bool = True,
    marked: bool = True,
) -> Example:
    """One training example of `role` about `problem`, in one of the forms that the parts of a training ask for.

    `vary`: every solution in it is worked in a way of its own. `cited`: a judgement first cites the answers it
    compares. `marked`: each of them stands beside the own one, marked right or wrong. The role `match` is an exercise
    for `verdict`.
    """
    if isinstance(problem, MiniTask):
        return MAKERS[role](CodeDesk(rng, problem, cited))
    return MAKERS[role](LedgerDesk(rng, problem, vary, cited, marked))
