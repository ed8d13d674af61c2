"""What layers do with more candidates than fit a model's context: the one policy, never a truncation.

Candidates are put into chunks, in the given order, each as long as fits. Rankers and fusers work on the chunks and then
on what is left of them, round by round, until one chunk holds all; critics work chunk by chunk. A candidate that does
not fit alone, or a round in which no two fit together, is a NodeError that names the node and the fix.
"""

from __future__ import annotations

from collections.abc import Sequence

from archon.errors import NodeError
from archon.types import Candidate
from layers._asking import FIX, Asking, Chunk


def chunked(candidates: Sequence[Candidate], asking: Asking) -> list[Chunk]:
    """The candidates in chunks that fit, in order; one chunk where all fit together.

    Raises:
        NodeError: a candidate does not fit even alone.
    """
    if asking.fits(tuple(candidates)):
        return [tuple(candidates)]
    chunks: list[Chunk] = []
    for candidate in candidates:
        grown = (*chunks[-1], candidate) if chunks else (candidate,)
        if chunks and asking.fits(grown):
            chunks[-1] = grown
        else:
            asking.require_fit((candidate,))
            chunks.append((candidate,))
    what = f"{len(candidates)} candidates do not fit {asking.model!r} at once; {len(chunks)} chunks are used"
    asking.ctx.note("chunked", what)
    return chunks


def brought_closer(candidates: Sequence[Candidate], asking: Asking) -> list[Chunk]:
    """Chunks of which at least one holds two candidates, or one chunk of all.

    Raises:
        NodeError: a candidate does not fit alone, or no two neighbours fit together, so that no round would help.
    """
    chunks = chunked(candidates, asking)
    if len(chunks) > 1 and all(len(chunk) == 1 for chunk in chunks):
        what = f"no two of {len(chunks)} candidates fit the context of {asking.model!r} together; {FIX}"
        raise NodeError(asking.ctx.node, what)
    return chunks
