"""Unit-test generator: tests an answer should pass, written before any answer is seen (Archon, arXiv 2409.15254).

The tests are sentences that a model will judge, or, where answers are code, Python assertions that the sandbox will run
(as in CodeT, arXiv 2207.10397).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from archon.protocols import Context, Plan, RoleInputs, Tests, Traits
from archon.types import ModelId, PositiveInt, State
from layers._sampling import Sampled


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitTestGenerator(Sampled):
    """Adds up to `cap` tests to the state; conversation and candidates stay as they are.

    An answer that cannot be parsed adds none, and tests beyond `cap` are left out; both are recorded.
    """

    traits: ClassVar[Traits] = Traits(kind="tests", summary="conversation → unit tests, judged or run")

    model: ModelId
    cap: PositiveInt = 10
    """Tests at most; the paper asks for five to ten."""

    kind: Literal["natural", "executable"] = "natural"
    """Sentences, or Python assertions, each a test of its own; a model whose pack knows one form alone writes that."""

    @property
    def runs_code(self) -> bool:
        """Whether what it writes needs a sandbox."""
        return self.kind == "executable"

    def plan(self, incoming: int) -> Plan:
        """One call, perhaps repaired."""
        return Plan(calls=1, candidates=incoming, contingent=1)

    async def run(self, state: State, ctx: Context) -> State:
        """See the class."""
        options = {"kind": self.kind} if self.runs_code else {}
        words = self.words(ASSERTIONS_PROMPT if self.runs_code else PROMPT)
        inputs = RoleInputs(state.conversation, count=self.cap, template=words, options=options)
        output = await ctx.ask(self.model, "write_tests", inputs, self.sampling)
        written = output.tests if isinstance(output, Tests) else ()
        if not written:
            ctx.note("fallback", "no unit tests could be written; the candidates will be judged by none")
        if len(written) > self.cap:
            ctx.note("dropped", f"{len(written) - self.cap} unit tests are beyond the cap of {self.cap}")
        return replace(state, tests=tuple(dict.fromkeys((*state.tests, *written[: self.cap]))))


PROMPT = """\
Write tests for answers to the following conversation, before seeing any answer.

{{ question }}

Each test is one short sentence about the answer that is plainly true or false, such as "The answer states the total \
in euros." A correct and complete answer passes every test; a wrong or incomplete one should fail at least one. Cover \
the result, the reasoning it needs, and the form asked for. Work the task out first, as far as that helps.\
{% if count %} Write at most {{ count }} tests.{% endif %}

"""

ASSERTIONS_PROMPT = """\
Write tests for the Python function that the following conversation asks for, before seeing any implementation.

{{ question }}

Each test is one assertion that calls the function by the name asked for and compares what it returns with the result \
you are certain of. Work every result out by hand from the description, and leave out a case whose result you cannot \
tell for sure. Take the examples given, the smallest and empty inputs, repeated and negative values, and one or two \
ordinary cases. Use literals only, and no names besides the function's.\
{% if count %} Write at most {{ count }} tests.{% endif %}

"""
