"""Self-MoA-Seq (Li et al., arXiv 2502.00674): many samples of one model, fused a sliding window at a time.

The best synthesis so far stands in several slots of every window after the first, so that the aggregator leans on it.
The context need only hold one window, however many samples there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from archon.errors import NodeError
from archon.protocols import Context, Plan, RoleInputs, Traits
from archon.types import Candidate, ModelId, PositiveInt, State
from layers._asking import Asking, Chunk
from layers._sampling import Drawn

OWN = 500_000
"""First sample index of its own draws. A generator elsewhere in the graph may make this very request, and how many of
its draws arrive here (some fail, a ranker keeps few) does not tell the indices it took; no generator counts as far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfMoaSeq(Drawn):
    """Draws `samples` answers from `model` and fuses them, behind the incoming candidates, window by window into one.

    Failed draws are dropped; `quorum` counts the incoming candidates too. A window whose fusion fails is left out and
    recorded; the node fails when every window does. A window that does not fit the aggregator's context first gives up
    repeats of the synthesis, then samples, which the next window takes.
    """

    traits: ClassVar[Traits] = Traits(
        kind="fuser",
        models=("model", "aggregator"),
        summary="candidates and samples of one model → one answer, fused through a sliding window",
    )

    model: ModelId
    aggregator: ModelId | None = None
    """The model that fuses; None = `model`."""
    samples: PositiveInt = 12
    """Answers drawn, beside the incoming ones."""
    window: PositiveInt = 6
    """Slots of a window."""
    reserved: PositiveInt = 3
    """Slots that repeat the best synthesis so far; fewer than `window`."""

    def __post_init__(self) -> None:
        # Slots make dataclass build the class anew, so super() without arguments would not find it.
        Drawn.__post_init__(self)
        if self.reserved >= self.window:
            raise ValueError(f"reserved must be below window, got reserved={self.reserved} and window={self.window}")

    def plan(self, incoming: int) -> Plan:
        """One call a sample and one a window; at worst every window has room for a single sample."""
        drafts = incoming + self.samples
        later = max(0, drafts - self.window)
        windows = 1 + -(-later // (self.window - self.reserved))
        return Plan(calls=self.samples + windows, candidates=1, contingent=drafts - windows)

    async def run(self, state: State, ctx: Context) -> State:
        """See the class."""
        drafts = (*state.candidates, *await self._sampled(state, ctx))
        aggregator = self.aggregator or self.model
        asking = Asking(ctx, aggregator, "fuse", self.sampling, lambda chunk: self._inputs(state, chunk))
        return state.with_candidates([await self._fused(drafts, asking)])

    async def _sampled(self, state: State, ctx: Context) -> list[Candidate]:
        completions = await ctx.draw(
            self.model,
            "generate",
            RoleInputs(state.conversation),
            self.sampling,
            samples=self.samples,
            offset=OWN,
            quorum=max(0, self.quorum - len(state.candidates)),
        )
        return [ctx.candidate(each, index) for index, each in enumerate(completions)]

    async def _fused(self, drafts: Chunk, asking: Asking) -> Candidate:
        """The last synthesis. Windows follow each other, since each holds the synthesis of the one before."""
        best: Candidate | None = None
        failures: list[NodeError] = []
        done = 0
        while done < len(drafts):
            kept, fresh = self._window(best, drafts[done:], asking)
            done += len(fresh)
            try:
                (completion,) = await asking.draw((*kept, *fresh))
            except NodeError as error:
                failures.append(error)
                asking.ctx.note("failed", f"a window of {len(fresh)} new candidates could not be fused and is left out")
                continue
            best = asking.ctx.candidate(completion, self.samples + done, drafts[:done])
        if best is None:
            raise NodeError(asking.ctx.node, "no window could be fused", failures)
        return best

    def _window(self, best: Candidate | None, waiting: Chunk, asking: Asking) -> tuple[Chunk, Chunk]:
        """Repeats of the best synthesis, and the drafts that stand beside them."""
        kept = (best,) * self.reserved if best else ()
        fresh = waiting[: self.window - len(kept)]
        while not asking.fits((*kept, *fresh)):
            if len(kept) > 1:
                kept = kept[1:]
            elif len(fresh) > 1:
                fresh = fresh[:-1]
            else:
                asking.require_fit((*kept, *fresh))
        return kept, fresh

    def _inputs(self, state: State, chunk: Chunk) -> RoleInputs:
        return RoleInputs(state.conversation, chunk, template=self.words(PROMPT))


PROMPT = """\
Drafts of an answer to the conversation that follows stand below; a draft that occurs several times is the best answer \
put together so far. Write the one best answer.

Check every draft before you use it, the best so far included: take over what holds, correct what does not, and settle \
contradictions by your own reasoning. Answer the user directly and completely, in the form the conversation asks for; \
do not mention the drafts.

{% for answer in answers %}
{{ answer.quoted }}
{% if answer.critique %}
Critique of answer {{ answer.label }}:
{{ answer.critique }}
{% endif %}
{% endfor %}
"""
