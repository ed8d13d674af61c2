"""Unit-test evaluator: orders the candidates by the tests they pass (Archon, arXiv 2409.15254).

Tests in natural language are judged by a model, one call a candidate; executable ones (`UnitTest.code`) are run in the
sandbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from archon.errors import ArchonError
from archon.protocols import Context, Judgements, Plan, RoleInputs, Traits
from archon.types import Candidate, ModelId, PositiveInt, State, TestResult, UnitTest
from layers._asking import Asking, Chunk
from layers._attempts import attempted
from layers._sampling import Sampled

Passed = dict[UnitTest, bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitTestEvaluator(Sampled):
    """Sets each candidate's test results and its score (tests passed / tests), most passed first, ties as given.

    A test without a judgement (unparseable, failed call, no sandbox, no program in the answer) has the result None,
    which is recorded and counts as not passed. Without tests, or when nothing at all could be judged, the candidates
    go on unchanged, which is recorded.
    """

    traits: ClassVar[Traits] = Traits(kind="tests_evaluator", summary="candidates → ordered by unit tests passed")

    model: ModelId
    keep: PositiveInt | None = None
    """Candidates kept, the best; None = all."""
    first_k: PositiveInt | None = None
    """Keeps only candidates that pass every test, at most so many; all are kept, recorded, when none does."""
    first_pass: bool = False
    """The same as `first_k` 1."""
    remove_tests: bool = True
    """Whether the tests end here; otherwise later fusers are shown them."""

    def plan(self, incoming: int) -> Plan:
        """One call a candidate, each perhaps repaired."""
        kept = incoming if self.keep is None else min(self.keep, incoming)
        return Plan(calls=incoming, candidates=kept, contingent=incoming)

    async def run(self, state: State, ctx: Context) -> State:
        """See the class."""
        after = replace(state, tests=()) if self.remove_tests else state
        if not (state.tests and state.candidates):
            ctx.note("empty", f"{len(state.tests)} tests, {len(state.candidates)} candidates: nothing to evaluate")
            return after.with_candidates(state.candidates[: self.keep])
        results = [
            {**by_model, **by_running}
            for by_model, by_running in zip(await self._judged(state, ctx), await _executed(state, ctx), strict=True)
        ]
        return after.with_candidates(self._kept(state, results, ctx)[: self.keep])

    async def _judged(self, state: State, ctx: Context) -> list[Passed]:
        """Results of the tests in natural language, by candidate."""
        tests = tuple(test for test in state.tests if not test.code)
        if not tests:
            return [{} for _ in state.candidates]
        asking = Asking(ctx, self.model, "judge_tests", self.sampling, lambda chunk: self._inputs(state, tests, chunk))
        for candidate in state.candidates:
            asking.require_fit((candidate,))
        outputs = await attempted([asking.ask((each,)) for each in state.candidates], ctx, "test evaluation")
        return [_by_test(tests, output) for output in outputs]

    def _inputs(self, state: State, tests: tuple[UnitTest, ...], chunk: Chunk) -> RoleInputs:
        shown = tuple(replace(each, critique=None) for each in chunk)
        return RoleInputs(state.conversation, shown, tests=tests, template=self.words(PROMPT))

    def _kept(self, state: State, results: Sequence[Passed], ctx: Context) -> Sequence[Candidate]:
        verdicts = [passed for result in results for passed in result.values()]
        if verdicts.count(None):
            ctx.note("unjudged", f"{verdicts.count(None)} of {len(verdicts)} test results could not be had")
        if verdicts.count(None) == len(verdicts):
            ctx.note("fallback", "no unit test could be judged; the candidates go on unchanged")
            return state.candidates
        tested = [_tested(each, state.tests, result) for each, result in zip(state.candidates, results, strict=True)]
        ordered = sorted(tested, key=lambda each: -(each.score or 0.0))
        return self._passing(ordered, ctx)

    def _passing(self, ordered: list[Candidate], ctx: Context) -> list[Candidate]:
        limit = 1 if self.first_pass else self.first_k
        if limit is None:
            return ordered
        passing = [each for each in ordered if each.score == 1.0]
        if not passing:
            ctx.note("fallback", f"none of {len(ordered)} candidates passes every unit test; all are kept")
        return passing[:limit] or ordered


def _by_test(tests: Sequence[UnitTest], output: object) -> Passed:
    """One result a test, whatever the pack gave."""
    passed = output.passed if isinstance(output, Judgements) else ()
    return dict(zip(tests, (*passed, *(None,) * len(tests)), strict=False))


async def _executed(state: State, ctx: Context) -> list[Passed]:
    """Results of the executable tests, by candidate."""
    tests = [test for test in state.tests if test.code]
    if tests and ctx.sandbox is None:
        ctx.note("unjudged", f"{len(tests)} unit tests are code and there is no sandbox to run them in")
    runs = [_run(candidate, test, ctx) for candidate in state.candidates for test in tests]
    results = iter(await ctx.gather(*runs))
    return [{test: next(results) for test in tests} for _ in state.candidates]


async def _run(candidate: Candidate, test: UnitTest, ctx: Context) -> bool | None:
    """Whether the program in an answer passes a test; None where that could not be found out."""
    program = ctx.extract(candidate.text)
    if ctx.sandbox is None or program is None:
        return None
    try:
        return await ctx.sandbox.check(program, test.text)
    except ArchonError as error:
        ctx.note("failed", f"candidate {candidate.id!r} could not be run: {error}")
        return None


def _tested(candidate: Candidate, tests: Sequence[UnitTest], passed: Passed) -> Candidate:
    results = tuple(TestResult(test, passed[test]) for test in tests)
    return replace(candidate, tests=results, score=sum(each.passed is True for each in results) / len(results))


PROMPT = """\
Check an answer to a conversation against a list of tests.

{{ question }}

{% for answer in answers %}
{{ answer.quoted }}
{% endfor %}

The tests:
{% for test in tests %}
{{ test.number }}.
{{ test.quoted }}
{% endfor %}

Take the tests one by one and say in a sentence what in the answer decides each. The answer passes a test only when \
the test is true of it as it stands.
"""
