"""How good a zoo model is in each role, measured on questions it was never trained on and on its own samples.

Right and wrong candidates are what the model itself wrote, not the synthetic mistakes of its lessons, and every prompt
and answer passes through the prompt pack, so the figures are those of the roles as layers use them.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from archon.errors import UnparseableError
from archon.protocols import Critiques, Judgements, Preference, Ranking, Role, RoleInputs, RoleOutput, Tests, Verdict
from archon.types import Candidate, UnitTest, assistant, user
from archon.zoo.encoding import structure
from archon.zoo.generate import Speaker
from archon.zoo.ledger import LedgerProblem
from archon.zoo.ledger_desk import answer_of, passes
from archon.zoo.pack import ZooPack

_PACK = ZooPack()
TEMPERATURE, SAMPLES = 0.7, 5


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, with its 95 % Wilson interval (Wilson 1927)."""

    hits: int
    count: int

    @property
    def value(self) -> float:
        """hits / count; NaN where nothing was counted."""
        return self.hits / self.count if self.count else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval, within 0..1."""
        if not self.count:
            return 0.0, 1.0
        z, n, p = 1.959964, self.count, self.value
        middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)


@dataclass(frozen=True, slots=True)
class Pool:
    """Questions with a model's own samples; `right[i][j]` tells whether sample j of question i is."""

    problems: Sequence[LedgerProblem]
    texts: list[list[str]]

    @property
    def right(self) -> list[list[bool]]:
        return [[correct(t, p) for t in row] for row, p in zip(self.texts, self.problems, strict=True)]

    def mixed(self) -> Iterator[tuple[LedgerProblem, list[str], list[bool]]]:
        """The questions with right and wrong samples among them: those where judging matters."""
        for problem, row, right in zip(self.problems, self.texts, self.right, strict=True):
            if any(right) and not all(right):
                yield problem, row, right


def correct(text: str, problem: LedgerProblem) -> bool:
    """Whether a solution's final answer is exactly the right one."""
    return answer_of(text) == str(problem.answer)


def share(outcomes: Sequence[bool]) -> Share:
    """The outcomes as a share."""
    return Share(sum(outcomes), len(outcomes))


def inputs(problem: LedgerProblem, texts: Sequence[str] = (), **more: object) -> RoleInputs:
    """Role inputs about one problem, with candidates of the given texts."""
    made = tuple(Candidate(str(i), assistant(text), "zoo", "measure") for i, text in enumerate(texts))
    return RoleInputs((user(problem.question),), made, **more)  # type: ignore[arg-type]


def ask(
    speaker: Speaker, role: Role, asked: Sequence[RoleInputs], temperature: float = 0.0, seed: int = 0
) -> list[str]:
    """The texts of one role, one for each input."""
    prompts = [structure([message.to_dict() for message in _PACK.render(role, one)]) for one in asked]
    return speaker.say([(name, tuple(parts)) for name, parts in prompts], temperature=temperature, seed=seed)


def judged(speaker: Speaker, role: Role, asked: Sequence[RoleInputs]) -> list[RoleOutput | None]:
    """The parsed outputs of one judging role; None where the text was not of its form."""
    found = list[RoleOutput | None]()
    for text, one in zip(ask(speaker, role, asked), asked, strict=True):
        try:
            found.append(_PACK.parse(role, text, one))
        except UnparseableError:
            found.append(None)
    return found


def sampled(speaker: Speaker, problems: Sequence[LedgerProblem], samples: int = SAMPLES, seed: int = 0) -> Pool:
    """Solutions drawn at `TEMPERATURE`."""
    rows = [
        ask(speaker, "generate", [inputs(p) for p in problems], TEMPERATURE, seed + 9973 * j) for j in range(samples)
    ]
    return Pool(problems, [list(column) for column in zip(*rows, strict=True)])


def greedy(speaker: Speaker, problems: Sequence[LedgerProblem]) -> list[bool]:
    """Whether the greedy answer to each problem is right."""
    texts = ask(speaker, "generate", [inputs(p) for p in problems])
    return [correct(t, p) for t, p in zip(texts, problems, strict=True)]


def voted(pool: Pool) -> list[bool]:
    """Whether the most frequent answer to each problem is right; the first drawn wins a tie."""
    most = [Counter(map(answer_of, row)).most_common(1)[0][0] for row in pool.texts]
    return [answer == str(p.answer) for answer, p in zip(most, pool.problems, strict=True)]


def fused(speaker: Speaker, pool: Pool) -> list[bool]:
    """Whether one fusion of all samples is right."""
    texts = ask(speaker, "fuse", [inputs(p, row) for p, row in zip(pool.problems, pool.texts, strict=True)])
    return [correct(t, p) for t, p in zip(texts, pool.problems, strict=True)]


def ranked(speaker: Speaker, pool: Pool) -> tuple[Share, float]:
    """How often the first of a listwise ranking is right where samples differ, and how often by chance."""
    cases = list(pool.mixed())
    orders = judged(speaker, "rank", [inputs(p, row) for p, row, _ in cases])
    hits = [isinstance(o, Ranking) and right[o.order[0]] for o, (_, _, right) in zip(orders, cases, strict=True)]
    return share(hits), sum(sum(right) / len(right) for _, _, right in cases) / max(len(cases), 1)


def _pairs(pool: Pool) -> list[tuple[LedgerProblem, str, str, bool]]:
    """One right and one wrong sample of each question that has both; the right one stands first in every other."""
    pairs = list[tuple[LedgerProblem, str, str, bool]]()
    for i, (problem, row, right) in enumerate(pool.mixed()):
        good, bad = row[right.index(True)], row[right.index(False)]
        pairs.append((problem, good, bad, True) if i % 2 else (problem, bad, good, False))
    return pairs


def compared(speaker: Speaker, pool: Pool) -> Share:
    """How often the right one of a right and a wrong sample is preferred."""
    pairs = _pairs(pool)
    said = judged(speaker, "compare", [inputs(p, (a, b)) for p, a, b, _ in pairs])
    return share(
        [
            isinstance(s, Preference) and (s.first > 0.5) == first
            for s, (_, _, _, first) in zip(said, pairs, strict=True)
        ]
    )


def critiqued(speaker: Speaker, pool: Pool) -> Share:
    """How often a critique finds fault with the wrong one of a pair and none with the right one."""
    pairs = _pairs(pool)
    said = judged(speaker, "critique", [inputs(p, (a, b)) for p, a, b, _ in pairs])
    hits = list[bool]()
    for one, (_, _, _, first) in zip(said, pairs, strict=True):
        texts = one.texts if isinstance(one, Critiques) else (None, None)
        faultless = [text is not None and text.endswith("bad nothing") for text in texts]
        hits.append(faultless == [first, not first])
    return share(hits)


def verified(speaker: Speaker, pool: Pool) -> Share:
    """How often reasoning, then verdict judge a sample rightly; as many right as wrong samples."""
    cases = [(p, text, right) for p, a, b, first in _pairs(pool) for text, right in ((a, first), (b, not first))]
    reasons = ask(speaker, "verify", [inputs(p, (text,)) for p, text, _ in cases])
    asked = [inputs(p, (text,), reasoning=r) for (p, text, _), r in zip(cases, reasons, strict=True)]
    said = judged(speaker, "verdict", asked)
    return share([isinstance(s, Verdict) and s.correct == right for s, (_, _, right) in zip(said, cases, strict=True)])


def tested(speaker: Speaker, pool: Pool) -> tuple[Share, Share]:
    """Of the tests written: how many a right solution passes; of judgements on own samples: how many are right."""
    written = judged(speaker, "write_tests", [inputs(p) for p in pool.problems])
    sound, asked = list[bool](), list[RoleInputs]()
    for tests, problem, row in zip(written, pool.problems, pool.texts, strict=True):
        known = [t for t in tests.tests if _holds(t, problem.solution) is not None] if isinstance(tests, Tests) else []
        sound += [_holds(t, problem.solution) is True for t in known]
        if known:
            asked.append(inputs(problem, row[:1], tests=tuple(known)))
    said, hits = judged(speaker, "judge_tests", asked), list[bool]()
    for one, given in zip(said, asked, strict=True):
        passed = one.passed if isinstance(one, Judgements) else (None,) * len(given.tests)
        truth = [_holds(test, given.candidates[0].text) for test in given.tests]
        hits += [p == t for p, t in zip(passed, truth, strict=True) if t is not None]
    return share(sound), share(hits)


def _holds(test: UnitTest, text: str) -> bool | None:
    try:
        return passes(test.text, text)
    except (ValueError, KeyError, IndexError):
        return None  # neither the test nor the answer is of a form that can be decided
