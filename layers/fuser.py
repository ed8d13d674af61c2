"""Fuser: one answer made from several (Archon, arXiv 2409.15254; Mixture-of-Agents, arXiv 2406.04692).

As in Mixture-of-Agents the candidates stand in a system message and the conversation follows whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar

from archon.errors import NodeError
from archon.protocols import Context, Plan, RoleInputs, Traits
from archon.types import Candidate, ModelId, State
from layers._asking import Asking, Chunk
from layers._chunks import brought_closer
from layers._sampling import Drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Fuser(Drawn):
    """Draws `samples` fused answers from all candidates, with their critiques where they have any.

    A single candidate is fused too (it is rewritten). More candidates than fit the context: each chunk is fused into
    one answer, then those are fused; a chunk whose draw fails is represented by its first candidate, which is recorded.
    """

    traits: ClassVar[Traits] = Traits(kind="fuser", draws=True, summary="candidates → samples fused answers")

    model: ModelId
    use_critiques: bool = True
    """Whether the model sees the candidates' critiques."""
    length_control: bool = False
    """Asks for an answer no longer than the candidates."""

    def plan(self, incoming: int) -> Plan:
        """One call a sample; every fused chunk makes one candidate of two or more, and two at least are left."""
        return Plan(calls=self.samples, candidates=self.samples, contingent=max(0, incoming - 2))

    async def run(self, state: State, ctx: Context) -> State:
        """See the class."""
        if not state.candidates:
            raise NodeError(ctx.node, "there is nothing to fuse; give it the candidates of another node")
        asking = Asking(ctx, self.model, "fuse", self.sampling, lambda chunk: self._inputs(state, chunk))
        drafts = await brought_together(state.candidates, asking, self.samples)
        completions = await asking.draw(drafts, self.samples, self.quorum)
        made = [ctx.candidate(each, index, state.candidates) for index, each in enumerate(completions)]
        return state.with_candidates(made)

    def _inputs(self, state: State, chunk: Chunk) -> RoleInputs:
        return RoleInputs(
            state.conversation,
            chunk if self.use_critiques else tuple(replace(each, critique=None) for each in chunk),
            tests=state.tests,
            template=self.words(PROMPT),
            options={"length_control": self.length_control},
        )


async def brought_together(candidates: Chunk, asking: Asking, first_index: int) -> Chunk:
    """Candidates that fit one prompt: the given ones, or fusions of chunks of them, numbered from `first_index`."""
    indices = count(first_index)
    while True:
        chunks = brought_closer(candidates, asking)
        if len(chunks) == 1:
            return chunks[0]
        fusions = [_fused(chunk, asking, next(indices)) for chunk in chunks]
        candidates = tuple(await asking.ctx.gather(*fusions))


async def _fused(chunk: Chunk, asking: Asking, index: int) -> Candidate:
    """One fusion of a chunk; the chunk's first candidate where it has no other or the draw fails."""
    if len(chunk) == 1:
        return chunk[0]
    completions = await asking.draw(chunk, quorum=0)
    if completions:
        return asking.ctx.candidate(completions[0], index, chunk)
    asking.ctx.note("fallback", f"a chunk of {len(chunk)} candidates could not be fused; its first stands for it")
    return chunk[0]


PROMPT = """\
Several assistants have each answered the conversation that follows. Write the one best answer to it.

Judge the drafts before you use them: some may be wrong, incomplete or biased, and agreement among them is no proof. \
Take over what holds, correct what does not, settle contradictions by your own reasoning, and add what all of them \
missed. Answer the user directly and completely, in the form the conversation asks for; do not mention the drafts.
{% if options.length_control %}

Be concise: your answer should be no longer than a typical draft.
{% endif %}
{% if tests %}

A good answer passes these checks:
{% for test in tests %}
{{ test.number }}. {{ test.quoted }}
{% endfor %}
{% endif %}

{% for answer in answers %}
{{ answer.quoted }}
{% if answer.critique %}
Critique of answer {{ answer.label }}:
{{ answer.critique }}
{% endif %}
{% endfor %}
"""
