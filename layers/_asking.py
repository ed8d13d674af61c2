"""One role put to one model about changing sets of candidates, within one run of a layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from archon.errors import NodeError
from archon.protocols import Context, Role, RoleInputs, RoleOutput
from archon.types import Candidate, Completion, Sampling

Chunk = tuple[Candidate, ...]
Content = tuple[tuple[str, str | None], ...]

FIX = "use a model with a longer context, or lower max_tokens here or where the candidates are made"


@dataclass(slots=True)
class Asking:
    """Calls of one role. Equal requests are made different draws by sample offsets, in the order they are asked."""

    ctx: Context
    model: str
    role: Role
    sampling: Sampling
    inputs: Callable[[Chunk], RoleInputs]
    """What a call about these candidates is given."""
    _made: Counter[Content] = field(default_factory=Counter)

    def fits(self, chunk: Chunk) -> bool:
        """Whether prompt and answer fit the model's context."""
        return self.ctx.fits(self.model, self.role, self.inputs(chunk), self.sampling)

    def require_fit(self, chunk: Chunk) -> None:
        """Raises NodeError unless the candidates fit the model's context together."""
        if not self.fits(chunk):
            named = " and ".join(repr(candidate.id) for candidate in chunk)
            raise NodeError(self.ctx.node, f"candidate {named} does not fit the context of {self.model!r}; {FIX}")

    def content(self, chunk: Chunk) -> Content:
        """What of the candidates the model sees: chunks of equal content are one request."""
        return tuple((shown.text, shown.critique) for shown in self.inputs(chunk).candidates)

    def ask(self, chunk: Chunk) -> Awaitable[RoleOutput | None]:
        """One parsed answer about the candidates; see `Context.ask`."""
        return self.ctx.ask(self.model, self.role, self.inputs(chunk), self.sampling, offset=self.offset(chunk))

    def draw(self, chunk: Chunk, samples: int = 1, quorum: int = 1) -> Awaitable[tuple[Completion, ...]]:
        """Texts about the candidates; see `Context.draw`."""
        return self.ctx.draw(
            self.model,
            self.role,
            self.inputs(chunk),
            self.sampling,
            samples=samples,
            offset=self.offset(chunk, samples),
            quorum=quorum,
        )

    def offset(self, chunk: Chunk, draws: int = 1) -> int:
        """Draws of an equal request made before; `draws` more are now counted as made."""
        content = self.content(chunk)
        self._made[content] += draws
        return self._made[content] - draws
