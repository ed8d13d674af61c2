"""Example tests: the examples a question gives become unit tests, without a call (as AlphaCode filters its samples by
the examples in the problem statement; Li et al. 2022, arXiv 2203.07814, section 4.5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from archon.protocols import Context, Plan, Traits
from archon.types import PositiveInt, State, UnitTest
from layers._examples import examples


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleTests:
    """Adds the examples of the last user message to the state's tests, at most `cap`; candidates stay as they are.

    An example is a call with literals and its result: `f([1, 2]) == 3`, `f(1) -> 2`, or `>>> f(1)` with the result on
    the next line. A question without examples gets no tests, which is recorded. The tests are run in the sandbox by the
    unit-test evaluator.
    """

    traits: ClassVar[Traits] = Traits(
        kind="tests", models=(), summary="examples in the question → unit tests that are run, no call"
    )

    cap: PositiveInt = 10
    """Tests at most, the first."""

    @property
    def runs_code(self) -> bool:
        """Whether what it writes needs a sandbox."""
        return True

    def plan(self, incoming: int) -> Plan:
        """No call."""
        return Plan(calls=0, candidates=incoming)

    async def run(self, state: State, ctx: Context) -> State:
        """See the class."""
        asked = [message.text for message in state.conversation if message.role == "user"]
        found = examples(asked[-1])[: self.cap] if asked else ()
        if not found:
            ctx.note("empty", "the question gives no examples; the candidates will be judged by none")
        tests = (UnitTest(each, code=True) for each in found)
        return replace(state, tests=tuple(dict.fromkeys((*state.tests, *tests))))
