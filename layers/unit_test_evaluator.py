"""Unit-test evaluator: orders the candidates by the tests they pass (Archon, arXiv 2409.15254).

Tests in natural language are judged by a model, one call a candidate; executable ones (`UnitTest.code`) are run in the
sandbox, one run a program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from archon.protocols import Context, Judgements, Plan, RoleInputs, Traits
from archon.types import Candidate, ModelId, PositiveInt, State, TestResult, UnitTest
from layers._asking import Asking, Chunk
from layers._attempts import attempted
from layers._executed import Passed, agreements, executed, shares, weighty
from layers._sampling import Sampled


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitTestEvaluator(Sampled):
    """Sets each candidate's test results and its score (share of tests passed), most passed first, ties as given.

    Executable tests that no candidate or every candidate passes carry no weight, unless there are no others.
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
    agreement: bool = False
    """Orders by dual agreement (CodeT): candidates that pass the same tests support each other. A candidate's score is
    then (how many pass the same tests) × (how many tests they pass), over candidates × tests."""
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
            for by_model, by_running in zip(await self._judged(state, ctx), await executed(state, ctx), strict=True)
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
        tests = weighty(state.tests, results, shared=self.agreement)
        tested = _tested(state, results, agreements(tests, results) if self.agreement else shares(tests, results))
        order = sorted(range(len(tested)), key=lambda place: -(tested[place].score or 0.0))
        passing = [place for place in order if all(results[place][test] is True for test in tests)]
        return [tested[place] for place in self._chosen(order, passing, ctx)]

    def _chosen(self, order: list[int], passing: list[int], ctx: Context) -> list[int]:
        limit = 1 if self.first_pass else self.first_k
        if limit is None:
            return order
        if not passing:
            ctx.note("fallback", f"none of {len(order)} candidates passes every unit test; all are kept")
        return passing[:limit] or order


def _by_test(tests: Sequence[UnitTest], output: object) -> Passed:
    """One result a test, whatever the pack gave."""
    passed = output.passed if isinstance(output, Judgements) else ()
    return dict(zip(tests, (*passed, *(None,) * len(tests)), strict=False))


def _tested(state: State, results: Sequence[Passed], scores: Sequence[float]) -> list[Candidate]:
    return [
        replace(each, tests=tuple(TestResult(test, result[test]) for test in state.tests), score=score)
        for each, result, score in zip(state.candidates, results, scores, strict=True)
    ]


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
