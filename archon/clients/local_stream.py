"""The text of a growing answer: decoded piece by piece, cut at the first stop string, never ahead of certainty."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_UNFINISHED = "\ufffd"
"""What a decoder shows for the first bytes of a character whose last are still to come."""


class GrowingText:
    """Text of the tokens so far.

    Attributes:
        text: what was decoded; after a stop string was met, what stands before it.
        stopped: whether a stop string was met.
        ends: length of the decoded text after each token, in characters.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str]) -> None:
        self._decode = decode
        self._stops = tuple(stop for stop in stops if stop)
        self._tokens: list[int] = []
        self._settled = 0
        """Tokens before this one are not decoded again; one settled piece before them gives the decoder its context."""
        self._context = 0
        self._sent = 0
        self.text = ""
        self.stopped = False
        self.ends: list[int] = []

    def add(self, token: int) -> None:
        """Takes in the next token."""
        self._tokens.append(token)
        known = self._decode(self._tokens[self._context : self._settled])
        grown = self._decode(self._tokens[self._context :])
        if len(grown) > len(known) and not grown.endswith(_UNFINISHED):
            self._extend(grown[len(known) :])
            self._context, self._settled = self._settled, len(self._tokens)
        self.ends.append(len(self.text))

    def finish(self) -> None:
        """No token follows: half characters are settled as they are."""
        if not self.stopped and self._settled < len(self._tokens):
            known = self._decode(self._tokens[self._context : self._settled])
            self._extend(self._decode(self._tokens[self._context :])[len(known) :])

    def fresh(self, *, last: bool = False) -> str:
        """What can be shown since the last call: all but an end that may turn out to begin a stop string."""
        held = 0 if last or self.stopped else self._held()
        piece = self.text[self._sent : len(self.text) - held]
        self._sent += len(piece)
        return piece

    def _extend(self, piece: str) -> None:
        longest = max(map(len, self._stops), default=0)
        begin = max(0, len(self.text) - longest + 1)
        self.text += piece
        found = [at for stop in self._stops if (at := self.text.find(stop, begin)) >= 0]
        if found:
            self.text, self.stopped = self.text[: min(found)], True

    def _held(self) -> int:
        """Length of the longest end of the text that begins a stop string."""
        sizes = (size for stop in self._stops for size in range(1, len(stop)) if self.text.endswith(stop[:size]))
        return max(sizes, default=0)
