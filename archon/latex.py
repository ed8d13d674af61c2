r"""Answers written in LaTeX: finding the last `\boxed{…}` and levelling spellings that mean the same.

`normalise` is for comparing strings: `\dfrac12`, `\frac{1}{2}`, `0.5` and `$x = \tfrac{1}{2}$` all give "0.5".
What is equal only by calculation (`\sqrt{8}` and `2\sqrt{2}`) is left to a symbolic comparison.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from archon.numerals import NUMERAL, canonical, clean

_BOX = re.compile(r"\\(?:boxed|fbox)\s{0,3}")
_BARE_BOX = re.compile(r"-?[\w.,/]*\w")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_TEXT = re.compile(r"\\(?:text|mbox|textbf|textit|textrm|texttt|mathrm|mathbf|operatorname)\s?\{([^{}]{0,300})\}")
_UNIT = re.compile(r"(?<=[\w)}\]])\s{0,3}\\(?:text|mbox|mathrm|textrm)\s?\{[^{}]{0,300}\}(?:\^(?:\{[0-9]\}|[0-9]))?")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\S", re.DOTALL)
_DROPPED = frozenset(
    {
        *(r"\left", r"\right", r"\big", r"\Big", r"\bigl", r"\bigr", r"\Bigl", r"\Bigr", r"\displaystyle", r"\limits"),
        *(r"\!", r"\,", r"\;", r"\:", r"\>", "\\ ", "\\\n", "~", r"\quad", r"\qquad"),
        *(r"\(", r"\)", r"\[", r"\]", r"\$", "$", r"\%", "%", r"\degree"),
    }
)
_ALIASES = {
    r"\frac": (r"\dfrac", r"\tfrac", r"\cfrac"),
    r"\le": (r"\leq", r"\leqslant", "≤"),
    r"\ge": (r"\geq", r"\geqslant", "≥"),
    r"\ne": (r"\neq", "≠"),
    r"\cdot": (r"\times", r"\ast", "·", "×", "*"),
    r"\{": (r"\lbrace",),
    r"\}": (r"\rbrace",),
    "|": (r"\lvert", r"\rvert", r"\vert", r"\mid"),
    r"\cup": ("∪",),
    r"\pi": ("π",),
    r"\infty": ("∞",),
    r"\sqrt": ("√",),
}
_RENAMED: Mapping[str, str] = MappingProxyType({alias: name for name, many in _ALIASES.items() for alias in many})
_DEGREES = re.compile(r"\^(?:\{\\circ\}|\\circ(?![A-Za-z]))|°")
_NAMED = re.compile(r"(?:[A-Za-z]|\\[a-z]+)(?:\([A-Za-z]\)|_\{[0-9]\})?\s?=(?!=)\s?([^=]+)")
_MEMBER = re.compile(r"[A-Za-z]\\in(?![A-Za-z])")
_LISTED = re.compile(r",?\s?\\(?:text|mbox|mathrm|textrm)\s?\{\s?(?:and|or)\s?\}")
_LETTER = re.compile(r"\(([A-Z])\)")
_BARE_ARGUMENTS = re.compile(
    r"\\frac(?=[^{\s])(\d|[A-Za-z])(\d|[A-Za-z]|\{[^{}]{0,300}\})|\\frac(\{[^{}]{0,300}\})(\d|[A-Za-z])(?![{])"
)
_BARE_ROOT = re.compile(r"\\sqrt(\d|[A-Za-z])")
_BARE_SCRIPT = re.compile(r"([\^_])\s{0,3}([0-9]+|[A-Za-z])")


@dataclass(frozen=True, slots=True)
class Box:
    """A `\\boxed{…}`: where its command starts in the text, and what stands in its braces."""

    start: int
    content: str


def boxed(text: str) -> Box | None:
    """The last complete `\\boxed{…}` (braces may nest) or `\\boxed 5`; one that the text's end cuts off is skipped."""
    commands = {match.end(): match.start() for match in _BOX.finditer(text)}
    if not commands:
        return None
    last_end, last_start = list(commands.items())[-1]
    bare = _BARE_BOX.match(text, last_end)
    if bare:
        return Box(last_start, bare[0])
    return _last_closed(text, commands)


def _last_closed(text: str, commands: Mapping[int, int]) -> Box | None:
    """One pass over the braces: the box that starts last among those that close."""
    opened: list[int] = []
    spans: dict[int, int] = {}
    for brace in _BRACE.finditer(text, next(iter(commands))):
        if brace[0] == "{":
            opened.append(brace.start())
        elif brace[0] == "}" and opened:
            start = opened.pop()
            if start in commands:
                spans[start] = brace.start()
    if not spans:
        return None
    start = max(spans)
    return Box(commands[start], text[start + 1 : spans[start]])


def normalise(content: str) -> str | None:
    """One spelling for what is written alike; numbers in canonical form; None for nothing but white space."""
    source = clean(content).strip()
    worded = _TEXT.fullmatch(source)
    if worded:
        return _words(worded[1])
    source = _LISTED.sub(",", _DEGREES.sub("", source))
    source = _BARE_SCRIPT.sub(r"\1{\2}", source)  # before spaces go: `x^2 3` and `x^{23}` must not meet
    source = _TEXT.sub(r"\1", _UNIT.sub("", source))
    levelled = _arguments(_spaced(source).rstrip(".,;"))
    named = _NAMED.fullmatch(levelled)
    if named:
        levelled = named[1]
    levelled = _MEMBER.sub("", levelled, count=1) if _MEMBER.match(levelled) else levelled
    letter = _LETTER.fullmatch(levelled)
    return letter[1] if letter else _number(levelled) or levelled or None


def _words(text: str) -> str | None:
    letter = re.fullmatch(r"\s*\(?([A-Z])\)?\s*", text)
    if letter:
        return letter[1]
    return " ".join(text.casefold().split()).rstrip(".,;") or None


def _spaced(source: str) -> str:
    """Tokens without spaces, drops and aliases applied; a space stays where a command would run into a letter."""
    tokens = (_RENAMED.get(token, token) for token in _TOKEN.findall(source) if token not in _DROPPED)
    parts: list[str] = []
    for token in tokens:
        if parts and token[0].isalpha() and len(parts[-1]) > 1 and parts[-1][-1].isalpha():
            parts.append(" ")
        parts.append(token)
    return "".join(parts)


def _arguments(source: str) -> str:
    r"""Arguments in braces where LaTeX lets them be bare (`\frac12`, `\sqrt2`)."""
    braced = _BARE_ARGUMENTS.sub(_with_braces, source)
    return _BARE_ROOT.sub(r"\\sqrt{\1}", braced)


def _with_braces(match: re.Match[str]) -> str:
    top, bottom = (part.strip("{}") for part in (match[1] or match[3], match[2] or match[4]))
    return rf"\frac{{{top}}}{{{bottom}}}"


def _number(source: str) -> str | None:
    """The canonical number where the whole text is one."""
    match = NUMERAL.fullmatch(source)
    return canonical(match) if match else None
