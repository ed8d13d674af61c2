"""Executable tests against programs: results by candidate, and what they say of the candidates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from archon.errors import ArchonError
from archon.protocols import Context
from archon.types import Candidate, State, UnitTest

Passed = dict[UnitTest, bool | None]


async def executed(state: State, ctx: Context) -> list[Passed]:
    """Results of the executable tests, by candidate; one run for each different program.

    None = not found out: no sandbox, no program in the answer, or the sandbox failed.
    """
    tests = [test for test in state.tests if test.code]
    if tests and ctx.sandbox is None:
        ctx.note("unjudged", f"{len(tests)} unit tests are code and there is no sandbox to run them in")
    if not tests or ctx.sandbox is None:
        return [dict.fromkeys(tests) for _ in state.candidates]
    programs = [ctx.extract(candidate.text) for candidate in state.candidates]
    first = dict(zip(reversed(programs), reversed(state.candidates), strict=True))
    ran = [program for program in dict.fromkeys(programs) if program is not None]
    results = await ctx.gather(*(_run(program, tests, first[program], ctx) for program in ran))
    by_program = dict(zip(ran, results, strict=True))
    return [dict.fromkeys(tests) if program is None else by_program[program] for program in programs]


async def _run(program: str, tests: Sequence[UnitTest], candidate: Candidate, ctx: Context) -> Passed:
    assert ctx.sandbox is not None
    try:
        passed = await ctx.sandbox.check_all(program, [test.text for test in tests])
    except ArchonError as error:
        ctx.note("failed", f"candidate {candidate.id!r} could not be run: {error}")
        return dict.fromkeys(tests)
    return dict(zip(tests, passed, strict=True))


def weighty(tests: Sequence[UnitTest], results: Sequence[Passed], *, shared: bool = False) -> list[UnitTest]:
    """The tests that count: of executable ones those that some candidate passes and some does not.

    One that nobody passes is more likely wrong than all candidates are, and one that everybody passes tells nothing,
    but for agreement, where it is what candidates share (`shared`). Where none is left, all count.
    """

    def telling(test: UnitTest) -> bool:
        outcomes = {result[test] is True for result in results}
        return not test.code or len(outcomes) == 2 or (shared and outcomes == {True})

    return [test for test in tests if telling(test)] or list(tests)


def shares(tests: Sequence[UnitTest], results: Sequence[Passed]) -> list[float]:
    """For each candidate the share of `tests` it passes."""
    return [len(_passing(tests, result)) / len(tests) for result in results]


def agreements(tests: Sequence[UnitTest], results: Sequence[Passed]) -> list[float]:
    """Dual execution agreement (CodeT, arXiv 2207.10397, section 2): |consensus set| × |tests it passes|.

    A consensus set is the candidates that pass exactly the same tests. Divided by candidates × tests, so in 0..1.
    """
    passing = [_passing(tests, result) for result in results]
    sizes = Counter(passing)
    return [sizes[each] * len(each) / (len(results) * len(tests)) for each in passing]


def _passing(tests: Sequence[UnitTest], result: Passed) -> frozenset[UnitTest]:
    return frozenset(test for test in tests if result[test] is True)
