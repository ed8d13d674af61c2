r"""The alphabet of answers: splits normalised LaTeX into tokens and walks over them.

Refuses what is too long or is words rather than mathematics.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MOST_CHARACTERS = 1000
_TOKEN = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?|\.[0-9]+|\\[A-Za-z]+|\\.|[A-Za-z]|\S)")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[pbv]?matrix\}")


class UnreadableError(Exception):
    """The text is not mathematics that this reader knows."""


@dataclass(slots=True)
class Tokens:
    """A cursor over the tokens of one answer."""

    items: list[str]
    at: int = 0
    depth: int = field(default=0)

    @classmethod
    def of(cls, latex: str) -> Tokens:
        """Raises UnreadableError where the text is too long or holds words."""
        if len(latex) > MOST_CHARACTERS:
            raise UnreadableError(f"longer than {MOST_CHARACTERS} characters")
        marked = _ENVIRONMENT.sub(lambda match: r"\beginmatrix " if "begin" in match[0] else r"\endmatrix ", latex)
        if _WORD.search(marked):
            raise UnreadableError("words")
        return cls(_TOKEN.findall(marked))

    def peek(self, ahead: int = 0) -> str:
        """The token `ahead` of the cursor; "" at the end."""
        at = self.at + ahead
        return self.items[at] if at < len(self.items) else ""

    def take(self) -> str:
        """The token under the cursor, which moves on. Raises UnreadableError at the end."""
        token = self.peek()
        if not token:
            raise UnreadableError("ends too soon")
        self.at += 1
        return token

    def skip(self, *tokens: str) -> bool:
        """Moves over the next token if it is one of `tokens`; tells whether it was."""
        if self.peek() and self.peek() in tokens:
            self.at += 1
            return True
        return False

    def expect(self, token: str) -> None:
        """Raises UnreadableError unless the next token is `token`."""
        if not self.skip(token):
            raise UnreadableError(f"expected {token!r}, found {self.peek()!r}")
