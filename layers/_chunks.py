"""What layers do with more candidates than fit a model's context: the one policy, never a truncation.

Candidates are put into chunks, in the given order, each as long as fits. Rankers and fusers work on the chunks and then
on what is left of them, round by round, until one chunk holds all; critics work chunk by chunk. A candidate that does
not fit alone, or a round in which no two fit together, is a NodeError that names the node and the fix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from archon.errors import NodeError
from archon.protocols import Context
from archon.types import Candidate

Chunk = tuple[Candidate, ...]

_FIX = "use a model with a longer context, or lower max_tokens here or where the candidates are made"


def chunked(candidates: Sequence[Candidate], fits: Callable[[Chunk], bool], ctx: Context, model: str) -> list[Chunk]:
    """The candidates in chunks that fit, in order; one chunk where all fit together.

    Raises:
        NodeError: a candidate does not fit even alone.
    """
    if fits(tuple(candidates)):
        return [tuple(candidates)]
    chunks: list[Chunk] = []
    for candidate in candidates:
        grown = (*chunks[-1], candidate) if chunks else (candidate,)
        if chunks and fits(grown):
            chunks[-1] = grown
        else:
            require_fit((candidate,), fits, ctx, model)
            chunks.append((candidate,))
    ctx.note("chunked", f"{len(candidates)} candidates do not fit {model!r} at once; {len(chunks)} chunks are used")
    return chunks


def require_fit(chunk: Chunk, fits: Callable[[Chunk], bool], ctx: Context, model: str) -> None:
    """Raises NodeError unless the candidates fit the model's context together."""
    if not fits(chunk):
        named = " and ".join(repr(candidate.id) for candidate in chunk)
        raise NodeError(ctx.node, f"candidate {named} does not fit the context of {model!r}; {_FIX}")


def require_progress(chunks: Sequence[Chunk], ctx: Context, model: str) -> None:
    """Raises NodeError when no chunk holds two candidates, so that no round could bring them together."""
    if all(len(chunk) == 1 for chunk in chunks):
        raise NodeError(ctx.node, f"no two of {len(chunks)} candidates fit the context of {model!r} together; {_FIX}")
