"""Ranker: the best candidates, in order (Archon, arXiv 2409.15254): one listwise call, or pairs compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from archon.protocols import Context, Plan, Role, RoleInputs, Traits
from archon.types import ModelId, PositiveInt, State
from layers._asking import Asking, Chunk
from layers._listwise import listwise, worst_case
from layers._pairwise import pairwise
from layers._sampling import Sampled


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranker(Sampled):
    """Keeps the best `keep` candidates in order and sets their `score`. Fewer than two candidates need no call.

    listwise: score = (n - place) / n, places from 0. An answer that cannot be parsed leaves order and scores as given,
    which is recorded. Candidates the model left out follow the others as given; recorded where any of the best `keep`
    was left out. More candidates than fit the context: chunks are ranked, the better half of each goes on to the next
    round, the others stand behind by their place in their chunk.

    pairwise: every pair in both orders, so that a liking for the first place cancels out; candidates of equal content
    tie without a call. Score = the Bradley–Terry chance of beating an average candidate, in (0, 1). Comparisons that
    failed or could not be parsed are left out; with none left the given order stands, which is recorded.
    """

    traits: ClassVar[Traits] = Traits(kind="ranker", summary="candidates → the best `keep`, in order")

    model: ModelId
    keep: PositiveInt | None = None
    """Candidates kept; None = all."""
    method: Literal["listwise", "pairwise"] = "listwise"
    use_critiques: bool = True
    """Whether the model sees the candidates' critiques."""

    def plan(self, incoming: int) -> Plan:
        """One call, or two a pair."""
        kept = incoming if self.keep is None else min(self.keep, incoming)
        if incoming < 2:
            return Plan(calls=0, candidates=kept)
        if self.method == "pairwise":
            calls = incoming * (incoming - 1)
            return Plan(calls=calls, candidates=kept, contingent=calls)
        return Plan(calls=1, candidates=kept, contingent=worst_case(incoming))

    async def run(self, state: State, ctx: Context) -> State:
        """See the class."""
        if len(state.candidates) < 2:
            ctx.note("trivial", f"{len(state.candidates)} candidates need no ranking")
            return state
        keep = self.keep or len(state.candidates)
        role: Role = "rank" if self.method == "listwise" else "compare"
        asking = Asking(ctx, self.model, role, self.sampling, lambda chunk: self._inputs(state, chunk, keep))
        ranked = await (
            listwise(state.candidates, asking, keep) if role == "rank" else pairwise(state.candidates, asking)
        )
        return state.with_candidates(ranked[:keep])

    def _inputs(self, state: State, chunk: Chunk, keep: int) -> RoleInputs:
        shown = chunk if self.use_critiques else tuple(replace(each, critique=None) for each in chunk)
        template = self.words(PROMPT if self.method == "listwise" else COMPARE_PROMPT)
        return RoleInputs(state.conversation, shown, count=min(keep, len(chunk)), template=template)


_ANSWERS = """\
{{ question }}

{% for answer in answers %}
{{ answer.quoted }}
{% if answer.critique %}
Critique of answer {{ answer.label }}:
{{ answer.critique }}
{% endif %}
{% endfor %}
"""

PROMPT = (
    """\
Rank {{ answers | length }} answers to a conversation by how well they serve the user: correct first of all, then \
complete, to the point and in the form asked for. Neither length nor the order in which they stand counts.

"""
    + _ANSWERS
    + """
First work out briefly what a correct answer needs and where the answers differ. Then rank all of them\
{% if count and count < answers | length %}, or at least the best {{ count }}{% endif %}.
"""
)

COMPARE_PROMPT = (
    """\
Two answers to a conversation stand below. Decide which one serves the user better: correct first of all, then \
complete, to the point and in the form asked for. Neither length nor the order in which they stand counts.

"""
    + _ANSWERS
    + """
First work out briefly what a correct answer needs and where the two differ. Then decide; call it a tie only when \
neither is better.
"""
)
