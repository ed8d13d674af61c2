"""How well a zoo model judges: its own right and wrong samples, not the synthetic mistakes of its lessons."""

from collections.abc import Iterator, Sequence

from archon.errors import UnparseableError
from archon.protocols import Critiques, Judgements, Preference, Ranking, Role, RoleInputs, RoleOutput, Tests, Verdict
from archon.zoo.families import Problem
from archon.zoo.generate import Speaker
from archon.zoo.ledger_desk import passes
from archon.zoo.measures import PACK, TEMPERATURE, Pool, Share, ask, clustered, inputs, share

OPINIONS = 4  # reasonings drawn for one verdict, whose share of "yes" is the verifier's confidence


Case = tuple[Problem, str, bool]
"""A question, a sample, and whether it is right."""


def judged(speaker: Speaker, role: Role, asked: Sequence[RoleInputs]) -> list[RoleOutput | None]:
    """The parsed outputs of one judging role; None where the text was not of its form."""
    return [_parsed(role, text, one) for text, one in zip(ask(speaker, role, asked), asked, strict=True)]


def _parsed(role: Role, text: str, one: RoleInputs) -> RoleOutput | None:
    try:
        return PACK.parse(role, text, one)
    except UnparseableError:
        return None


def ranked(speaker: Speaker, pool: Pool) -> tuple[Share, float]:
    """How often the first of a listwise ranking is right where samples differ, and how often by chance."""
    cases = list(pool.mixed())
    orders = judged(speaker, "rank", [inputs(p, row) for p, row, _ in cases])
    hits = [isinstance(o, Ranking) and right[o.order[0]] for o, (_, _, right) in zip(orders, cases, strict=True)]
    return share(hits), sum(sum(right) / len(right) for _, _, right in cases) / max(len(cases), 1)


def _pairs(pool: Pool) -> Iterator[tuple[Problem, str, str, bool]]:
    """One right and one wrong sample of each question that has both; the right one stands first in every other."""
    for i, (problem, row, right) in enumerate(pool.mixed()):
        good, bad = row[right.index(True)], row[right.index(False)]
        yield (problem, good, bad, True) if i % 2 else (problem, bad, good, False)


def compared(speaker: Speaker, pool: Pool) -> Share:
    """How often the right one of a right and a wrong sample is preferred."""
    pairs = list(_pairs(pool))
    said = judged(speaker, "compare", [inputs(p, (a, b)) for p, a, b, _ in pairs])
    outcomes = zip(said, pairs, strict=True)
    return share([isinstance(s, Preference) and (s.first > 0.5) == first for s, (_, _, _, first) in outcomes])


def critiqued(speaker: Speaker, pool: Pool) -> Share:
    """How often a critique finds fault with the wrong one of a pair and none with the right one."""
    pairs = list(_pairs(pool))
    said = judged(speaker, "critique", [inputs(p, (a, b)) for p, a, b, _ in pairs])
    hits = list[bool]()
    for one, (_, _, _, first) in zip(said, pairs, strict=True):
        texts = one.texts if isinstance(one, Critiques) else (None, None)
        hits.append([text is not None and text.endswith("bad nothing") for text in texts] == [first, not first])
    return share(hits)


def _balanced(pool: Pool) -> list[Case]:
    """As many right as wrong samples."""
    return [(p, text, right) for p, a, b, first in _pairs(pool) for text, right in ((a, first), (b, not first))]


def _verdicts(speaker: Speaker, cases: Sequence[Case], temperature: float, seed: int) -> list[bool]:
    """Reasoning, then verdict: whether each sample is let through."""
    reasons = ask(speaker, "verify", [inputs(p, (text,)) for p, text, _ in cases], temperature, seed)
    asked = [inputs(p, (text,), reasoning=r) for (p, text, _), r in zip(cases, reasons, strict=True)]
    return [isinstance(said, Verdict) and said.correct for said in judged(speaker, "verdict", asked)]


def verified(speaker: Speaker, pool: Pool) -> Share:
    """How often reasoning, then verdict judge a sample rightly; as many right as wrong samples."""
    cases = _balanced(pool)
    said = _verdicts(speaker, cases, 0.0, 0)
    return share([one == right for one, (_, _, right) in zip(said, cases, strict=True)])


def calibrated(speaker: Speaker, pool: Pool) -> tuple[list[tuple[float, Share]], float]:
    """Of balanced samples: how many are right at each confidence (share of "yes" over `OPINIONS` drawn reasonings), and
    the expected calibration error, the mean distance of the two weighted by how often each confidence occurs."""
    cases = _balanced(pool)
    drawn = [_verdicts(speaker, cases, TEMPERATURE, 1 + turn) for turn in range(OPINIONS)]
    sure = [sum(one) / OPINIONS for one in zip(*drawn, strict=True)]
    bins = list[tuple[float, Share]]()
    for level in (n / OPINIONS for n in range(OPINIONS + 1)):
        bins.append((level, share([right for s, (_, _, right) in zip(sure, cases, strict=True) if s == level])))
    error = sum(found.count * abs(found.value - level) for level, found in bins if found.count)
    return bins, error / max(len(cases), 1)


def tests_written(speaker: Speaker, pool: Pool) -> tuple[Share, list[Tests | None]]:
    """How many of the tests written hold of a right answer, and the tests; those that stand in the question are copied
    and do not count."""
    outputs = judged(speaker, "write_tests", [inputs(problem) for problem in pool.problems])
    written = [output if isinstance(output, Tests) else None for output in outputs]
    outcomes = [
        [
            pool.family.holds(problem, test.text)
            for test in (tests.tests if tests else ())
            if test.text.removeprefix("assert ") not in problem.question
        ]
        for tests, problem in zip(written, pool.problems, strict=True)
    ]
    return clustered([[one for one in row if one is not None] for row in outcomes]), written


def tests_judged(speaker: Speaker, pool: Pool, written: Sequence[Tests | None]) -> Share:
    """How many judgements of tests in plain words on own samples are right; tests that can be run need no judge."""
    asked = list[RoleInputs]()
    for tests, problem, row in zip(written, pool.problems, pool.texts, strict=True):
        known = [t for t in tests.tests if not t.code and _passed(t.text, row[0]) is not None] if tests else []
        if known:
            asked.append(inputs(problem, row[:1], tests=tuple(known)))
    said, hits = judged(speaker, "judge_tests", asked), list[list[bool]]()
    for one, given in zip(said, asked, strict=True):
        passed = one.passed if isinstance(one, Judgements) else (None,) * len(given.tests)
        truth = [_passed(test.text, given.candidates[0].text) for test in given.tests]
        hits.append([p == t for p, t in zip(passed, truth, strict=True)])
    return clustered(hits)


def _passed(test: str, text: str) -> bool | None:
    try:
        return passes(test, text)
    except (ValueError, KeyError, IndexError):
        return None  # neither the test nor the answer is of a form that can be decided
