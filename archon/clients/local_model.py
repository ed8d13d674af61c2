"""What a local model must be able to do, whatever its architecture: fill, open rows, advance all rows, score.

A *prefix* is a prompt that was run through the model once; any number of *rows* can go on from it. A row is one answer
being written: it holds the tokens so far in a cache and the one token that comes next. `advance` moves every open row
by its token in one forward, and beyond it by what was drafted for it; what of that does not stand is taken back by
setting the row's length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Prefix:
    """A prompt after its forward."""

    __slots__ = ("cache", "length", "logits", "size")

    def __init__(self, cache: Any, logits: Tensor, length: int, size: int) -> None:
        self.cache = cache
        """Keys and values, in the model's own form."""
        self.logits = logits
        """[vocabulary], of the token after the prompt."""
        self.length = length
        """Tokens in the cache."""
        self.size = size
        """Bytes of the cache."""


class Row:
    """One answer being written."""

    __slots__ = ("drafted", "index", "length", "owner", "place", "token")

    def __init__(self, owner: Any, length: int) -> None:
        self.owner = owner
        """Whoever asked for it; the model does not look at it."""
        self.length = length
        """Tokens in the cache."""
        self.token = 0
        """The next token, to be set before `advance`."""
        self.drafted: Sequence[int] = ()
        """Tokens proposed to follow it; `advance` leaves them here."""
        self.place: Any = None
        self.index = 0


class LocalModel(Protocol):
    """A causal language model with a cache for many rows."""

    @property
    def context(self) -> int:
        """Longest prompt and answer together, tokens."""
        ...

    @property
    def dtype_name(self) -> str:
        """The dtype it computes in."""
        ...

    def prefill(self, prompts: Sequence[Sequence[int]]) -> list[Prefix]:
        """Runs prompts (each of at least one token) through the model."""
        ...

    def open(self, prefix: Prefix, owner: Any) -> Row:
        """A row that goes on from `prefix`."""
        ...

    def advance(self) -> tuple[list[Row], Tensor]:
        """Feeds every open row its token and the drafted ones; the rows in order, and the logits that follow each token
        [Σ(1 + drafted), vocabulary], row after row. Only a model whose logits are the same, bit for bit,
        for a token fed alone and drafted is given any drafts (`local_loading`).
        """
        ...

    def close(self, row: Row, *, broken: bool = False) -> None:
        """Frees a row; `broken` = its values may not be finite. Other rows keep theirs but may change their order."""
        ...

    def logits(self, tokens: Sequence[int], start: int) -> Tensor:
        """[len(tokens) - start, vocabulary]: the logits that follow each token from index `start` on."""
        ...
