"""Critic: strengths and weaknesses of every candidate (Archon, arXiv 2409.15254), for a ranker or fuser."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import ClassVar

from archon.protocols import Context, Critiques, Plan, RoleInputs, Traits
from archon.types import Candidate, ModelId, State
from layers._asking import Asking, Chunk
from layers._attempts import attempted
from layers._chunks import chunked
from layers._sampling import Sampled


@dataclass(frozen=True, slots=True, kw_only=True)
class Critic(Sampled):
    """Writes a critique on each candidate, in one call for all; the candidates stay, in their order.

    A candidate whose critique is missing, or whose call failed or could not be parsed, keeps the critique it had (None
    where it had none), which is recorded. More candidates than fit the context: one call a chunk.
    """

    traits: ClassVar[Traits] = Traits(kind="critic", summary="candidates → the same, each with a critique")

    model: ModelId

    def plan(self, incoming: int) -> Plan:
        """One call; at worst one chunk a candidate, each answer repaired."""
        if not incoming:
            return Plan(calls=0, candidates=0)
        return Plan(calls=1, candidates=incoming, contingent=2 * incoming - 1)

    async def run(self, state: State, ctx: Context) -> State:
        """See the class."""
        if not state.candidates:
            ctx.note("empty", "no candidate to critique")
            return state
        asking = Asking(ctx, self.model, "critique", self.sampling, lambda chunk: self._inputs(state, chunk))
        chunks = chunked(state.candidates, asking)
        outputs = await attempted([asking.ask(chunk) for chunk in chunks], ctx, "critique")
        texts = [_texts(chunk, output) for chunk, output in zip(chunks, outputs, strict=True)]
        critiques = list(chain.from_iterable(texts))
        if None in critiques:
            ctx.note("incomplete", f"{critiques.count(None)} of {len(critiques)} candidates got no critique")
        pairs = zip(state.candidates, critiques, strict=True)
        return state.with_candidates(_criticised(candidate, critique) for candidate, critique in pairs)

    def _inputs(self, state: State, chunk: Chunk) -> RoleInputs:
        # Earlier critiques are not shown: this one is to be independent of them.
        shown = tuple(replace(each, critique=None) for each in chunk)
        return RoleInputs(state.conversation, shown, template=self.words(PROMPT))


def _texts(chunk: Chunk, output: object) -> tuple[str | None, ...]:
    """One text a candidate, whatever the pack gave."""
    texts = output.texts if isinstance(output, Critiques) else ()
    return (*texts, *(None,) * len(chunk))[: len(chunk)]


def _criticised(candidate: Candidate, critique: str | None) -> Candidate:
    return candidate if critique is None else replace(candidate, critique=critique)


PROMPT = """\
Criticise {{ answers | length }} answers to a conversation, each on its own, for someone who has to choose among them \
or to write a better one.

{{ question }}

{% for answer in answers %}
{{ answer.quoted }}
{% endfor %}

For each answer name its strengths and its weaknesses: errors first, with the step or sentence where they happen, then \
what is missing, then form. Be specific and short; do not write an answer of your own.
"""
