"""Generator: answers to the conversation, drawn from one model.

Archon (Saad-Falcon et al., arXiv 2409.15254): the first stage of a system is one or more of these. The
conversation goes to the model whole: images, tool calls and names included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from archon.protocols import Context, Plan, RoleInputs, Traits
from archon.types import Message, ModelId, State
from layers._sampling import Drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator(Drawn):
    """Draws `samples` answers. Incoming candidates, where a graph gives it any, are replaced by its own.

    Failed draws are dropped and recorded by the context; fewer than `quorum` left is a NodeError.
    """

    traits: ClassVar[Traits] = Traits(kind="generator", draws=True, summary="conversation → samples answers")

    model: ModelId
    no_system: bool = False
    """Leaves system messages out, for models that refuse them."""

    def plan(self, incoming: int) -> Plan:
        """One call a sample."""
        return Plan(calls=self.samples, candidates=self.samples)

    async def run(self, state: State, ctx: Context) -> State:
        """See the class."""
        inputs = RoleInputs(self._conversation(state), template=self.words(PROMPT))
        completions = await ctx.draw(
            self.model, "generate", inputs, self.sampling, samples=self.samples, quorum=self.quorum
        )
        return state.with_candidates(ctx.candidate(each, index) for index, each in enumerate(completions))

    def _conversation(self, state: State) -> tuple[Message, ...]:
        return tuple(each for each in state.conversation if not (self.no_system and each.role == "system"))


PROMPT = ""
"""Nothing is added to the conversation; a template of the user's becomes a system message before it."""
