"""Verifier: only the candidates found correct go on (Archon, arXiv 2409.15254): reasoning, then a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from archon.protocols import Context, Plan, RoleInputs, Traits, Verdict
from archon.types import Candidate, ModelId, PositiveInt, State
from layers._asking import Asking, Chunk
from layers._attempts import attempted
from layers._sampling import Sampled


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier(Sampled):
    """Keeps the candidates judged correct, in order, at most `first_k`; each carries its verdict and reasoning.

    Two calls a candidate: the model reasons about it, then gives a verdict that is to follow from the reasoning. A
    verdict that cannot be parsed, or a call that failed, leaves the candidate unverified, which is recorded. When none
    is verified all are kept, those with a score first, best first; that is recorded too.
    """

    traits: ClassVar[Traits] = Traits(kind="verifier", summary="candidates → those found correct; all where none is")

    model: ModelId
    first_k: PositiveInt | None = None
    """Verified candidates kept, from the first; None = all."""
    verdict_prompt: str | None = None
    """A template in place of the layer's own for the verdict; `prompt` is the one for the reasoning."""

    def plan(self, incoming: int) -> Plan:
        """Two calls a candidate. None may be dropped, as none may be verified."""
        return Plan(calls=2 * incoming, candidates=incoming, contingent=incoming)

    async def run(self, state: State, ctx: Context) -> State:
        """See the class."""
        if not state.candidates:
            ctx.note("empty", "no candidate to verify")
            return state
        asking = Asking(ctx, self.model, "verify", self.sampling, lambda chunk: self._inputs(state, chunk))
        for candidate in state.candidates:
            asking.require_fit((candidate,))
        places = [(each, asking.offset((each,))) for each in state.candidates]
        outcomes = await attempted([self._judged(asking, *place) for place in places], ctx, "verification")
        return state.with_candidates(self._kept(state.candidates, outcomes, ctx))

    async def _judged(self, asking: Asking, candidate: Candidate, offset: int) -> Candidate:
        """The candidate with its reasoning and verdict; the verdict None where it could not be had."""
        ctx, inputs = asking.ctx, asking.inputs((candidate,))
        (completion,) = await ctx.draw(self.model, "verify", inputs, self.sampling, offset=offset)
        template = VERDICT_PROMPT if self.verdict_prompt is None else self.verdict_prompt
        inputs = replace(inputs, reasoning=completion.text, template=template)
        reasoned = replace(candidate, reasoning=completion.text, verdict=None)
        if not ctx.fits(self.model, "verdict", inputs, self.sampling):
            ctx.note("failed", f"candidate {candidate.id!r} and its reasoning do not fit {self.model!r} together")
            return reasoned
        output = await ctx.ask(self.model, "verdict", inputs, self.sampling, offset=offset)
        return replace(reasoned, verdict=output.correct) if isinstance(output, Verdict) else reasoned

    def _kept(
        self, given: Sequence[Candidate], outcomes: Sequence[Candidate | None], ctx: Context
    ) -> Sequence[Candidate]:
        judged = [new or replace(old, verdict=None) for new, old in zip(outcomes, given, strict=True)]
        unsure = sum(each.verdict is None for each in judged)
        if unsure:
            ctx.note("unverified", f"{unsure} of {len(judged)} candidates got no verdict; they count as unverified")
        correct = [each for each in judged if each.verdict]
        if correct:
            return correct[: self.first_k]
        ctx.note("fallback", f"none of {len(judged)} candidates is verified; all are kept")
        return sorted(judged, key=_unscored_last)

    def _inputs(self, state: State, chunk: Chunk) -> RoleInputs:
        shown = tuple(replace(each, critique=None) for each in chunk)
        return RoleInputs(state.conversation, shown, template=self.words(PROMPT))


def _unscored_last(candidate: Candidate) -> float:
    """Best score first; stable, so that equals and the unscored keep their order."""
    return math.inf if candidate.score is None else -candidate.score


PROMPT = """\
Examine whether the answer to the following conversation is correct.

{{ question }}

{% for answer in answers %}
{{ answer.quoted }}
{% endfor %}

Work the task out yourself first. Then go through the answer step by step and check every fact, inference and \
calculation against your own work. Look as hard for what is wrong as for what is right, and name what you find.
"""

VERDICT_PROMPT = """\
Somebody has examined an answer to the following conversation. Decide from the examination whether the answer is \
correct.

{{ question }}

{% for answer in answers %}
{{ answer.quoted }}
{% endfor %}

The examination:
{{ reasoning }}

An answer is correct only when its result is right and nothing essential in it is wrong.
"""
