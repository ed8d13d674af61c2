"""Tokens → text as they come: stop strings found across token borders, nothing shown that might still be taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_UNFINISHED = "�"


class TextStream:
    """The text of one row. Decodes a short window at a time, so the cost of a long text is linear in it.

    decode: token ids → text. stops: strings that end the text. `text`: all that is certain; `ended`: a stop was found.
    """

    def __init__(self, decode: Callable[[list[int]], str], stops: Sequence[str]) -> None:
        self.text, self.ended = "", False
        self._decode, self._stops = decode, tuple(stops)
        self._window: list[int] = []
        self._settled = 0
        # Of what the unsettled tokens say, what was added to the text.
        self._told = 0
        self._shown = 0
        self._hold = max((len(stop) for stop in self._stops), default=1) - 1

    def push(self, token: int) -> bool:
        """Add one token; True when the text is now ended by a stop string (cut off before it)."""
        if self.ended:
            return True
        self._window.append(token)
        fresh = self._fresh()
        certain = fresh.rstrip(_UNFINISHED)
        self._tell(certain)
        if len(certain) < len(fresh):
            return self.ended
        # The next decode starts at the last settled token, because some decoders treat the first token of a text apart.
        self._window = self._window[self._settled :]
        self._settled, self._told = len(self._window), 0
        return self.ended

    def release(self, final: bool) -> str:
        """The text not yet shown that can be: while more may come, a tail that could begin a stop string is held
        back."""
        end = len(self.text) if final or self.ended else max(self._shown, len(self.text) - self._held())
        fresh, self._shown = self.text[self._shown : end], max(self._shown, end)
        return fresh

    def finish(self) -> bool:
        """No more tokens will come: what was held as an unfinished character is added as it is. True when a stop string
        ended the text."""
        if not self.ended and len(self._window) > self._settled:
            self._tell(self._fresh())
            self._settled, self._told = len(self._window), 0
        return self.ended

    def _fresh(self) -> str:
        """What the tokens say that are not settled."""
        return self._decode(self._window)[len(self._decode(self._window[: self._settled])) :]

    def _tell(self, fresh: str) -> None:
        """Add to the text what it does not have yet of `fresh`."""
        self._append(fresh[self._told :])
        self._told = max(self._told, len(fresh))

    def _append(self, fresh: str) -> None:
        start = max(0, len(self.text) - self._hold)
        self.text += fresh
        found = [at for at in (self.text.find(stop, start) for stop in self._stops) if at >= 0]
        if found:
            self.text, self.ended = self.text[: min(found)], True

    def _held(self) -> int:
        """The longest tail of the text that is a beginning of some stop string."""
        longest = min(self._hold, len(self.text))
        tails = range(longest, 0, -1)
        return next((n for n in tails if any(stop.startswith(self.text[-n:]) for stop in self._stops)), 0)
