"""The final answer in a text, by name: `number`, `math` (also `boxed`), `choice`, `text`, `code`.

An extractor is a pure function `str -> str | None`: None where the text gives no answer, else the answer in one
normal form, so that equal answers are equal strings ("1,234.50", "$1234.5" and "2469/2" agree; "5" and "25" never do).
Every pattern runs in time linear in the text, whatever a model wrote.
"""

from __future__ import annotations

import importlib
import re
import textwrap
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from archon.errors import ConfigError, UnknownNameError
from archon.latex import boxed, normalise
from archon.numerals import NUMERAL, canonical, clean

Extractor = Callable[[str], str | None]

# Words after which an answer stands. A bare "answer" counts only before a number that ends its clause ("answer 42;"),
# because "answer 2 questions" is a verb.
_ANSWER = re.compile(
    r"\banswer(?P<said>\s{0,3}(?:\b(?:is|equals|would\sbe|should\sbe)\b|[:=]))?"
    r"(?:\s{0,3}(?:approximately|about|therefore|thus|exactly|simply|now)\b)?[\s:*_`\"'($\\\[{~≈]{0,12}"
    r"(?:[A-Za-z]\s?=\s?)?|^(?P<label>A:)[\s*$\\]{0,8}",
    re.IGNORECASE | re.MULTILINE,
)
_HASHES = re.compile(r"####[\s*_`$\\({=~≈]{0,12}")
_HEADING = re.compile(r"[.):]\s{1,3}\S")
_CLAUSE_END = re.compile(r"[\s*_`$)\]}]{0,8}(?:[.,;!\n]|$)")
# "answer is 5 * 3 = 15": what follows a stated number as far as the last equals sign of its line.
_WORKING = re.compile(r"[ \t0-9.,+*/×÷x()$%\\-]{0,200}=[ \t$\\]{0,4}")
_TAIL = 2000
_MATH_STATED = re.compile(
    r"(?:####|\banswer\s{1,3}is:?|\banswer:)[\s*]{0,4}([^\s*](?:[^\n.*]|\.(?=\S)){0,400})", re.IGNORECASE
)
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_MATH_INLINE = re.compile(r"\$([^$\n]{1,400})\$")
_CHOICE_STATED = re.compile(
    r"\b(?:answer|option|choice)(?:\s{1,3}is|\s{0,3}:)?[\s*_`\"'$\\]{0,8}(?:\((?P<bracketed>[A-Ea-e])\)|(?P<bare>[A-E])\b)"
    r"|^[\s*_`]{0,8}\(?(?P<line>[A-E])[).:]?[*_`]{0,3}[ \t]{0,8}$",
    re.IGNORECASE | re.MULTILINE,
)
_CHOICE_BRACKETED = re.compile(r"\(([A-E])\)")
_FENCE = re.compile(r"^[ \t]{0,3}```[ \t]*([\w+-]{0,30})[^\n`]*$", re.MULTILINE)
_PYTHON_START = re.compile(r"^(?:def|class|import|from|async def|@\w+|\w+ ?=) ?\S?", re.MULTILINE)


def number(text: str) -> str | None:
    """The number a text ends on: the one it states (`stated_number`), else the last one it mentions."""
    cleaned = clean(text)
    stated = _stated(cleaned)
    if stated is not None:
        return stated
    # Nearly always the last lines hold one, and a long text need not be read whole.
    tail = cleaned.find("\n", max(0, len(cleaned) - _TAIL))
    return (_last_number(cleaned, tail) if tail > 0 else None) or _last_number(cleaned, 0)


def _last_number(text: str, start: int) -> str | None:
    found = None
    for match in NUMERAL.finditer(text, start):
        found = canonical(match) or found
    return found


def stated_number(text: str) -> str | None:
    """The number a text gives out as its answer: last `#### N`, else the later of `\\boxed{N}` and "answer is N"."""
    return _stated(clean(text))


def _stated(text: str) -> str | None:
    return _after_hashes(text) or _boxed_or_said(text)


def _after_hashes(text: str) -> str | None:
    """The number after the last `####` that is not a numbered heading ("#### 2. Add the costs")."""
    found = None
    for marker in _HASHES.finditer(text):
        match = NUMERAL.match(text, marker.end())
        if match and not _HEADING.match(text, match.end()):
            found = _with_working(text, match) or found
    return found


def _boxed_or_said(text: str) -> str | None:
    box, said, at = boxed(text), None, -1
    for marker in _ANSWER.finditer(text):
        match = NUMERAL.match(text, marker.end())
        explicit = marker["said"] or marker["label"]
        if match and (explicit or _CLAUSE_END.match(text, match.end())):
            said, at = match, marker.start()
    if box is not None and box.start > at:
        return _in_box(box.content) or (_with_working(text, said) if said else None)
    return _with_working(text, said) if said else None


def _with_working(text: str, match: re.Match[str]) -> str | None:
    working = _WORKING.match(text, match.end())
    result = NUMERAL.match(text, working.end()) if working else None
    return canonical(result or match)


def _in_box(content: str) -> str | None:
    """The first number after the last equals sign; words in the box are its unit."""
    values = (canonical(match) for match in NUMERAL.finditer(content.rpartition("=")[2]))
    return next((value for value in values if value is not None), None)


def math(text: str) -> str | None:
    """The last `\\boxed{…}` in normal LaTeX; else what "answer is" or the last `$…$` holds, else the last number."""
    box = boxed(text)
    if box is not None:
        return normalise(box.content)
    stated = _last(_MATH_STATED.finditer(text))
    span = stated[1] if stated else text
    inline = _MATH_INLINE.search(span) if stated else _last(_MATH_INLINE.finditer(span))
    if inline:
        return normalise(inline[1])
    if stated and not _PROSE.search(span):
        return normalise(span)
    return number(span) or (normalise(span) if stated else None)


def choice(text: str) -> str | None:
    """One of A–E: boxed, stated ("answer is (B)", a line that is only the letter), else the last bracketed letter."""
    box = boxed(text)
    if box is not None and (letter := re.fullmatch(r"\(?([A-Ea-e])\)?[.:]?", normalise(box.content) or "")):
        return letter[1].upper()
    last = _last(match for match in _CHOICE_STATED.finditer(text) if _is_letter(match))
    if last:
        return str(last["bracketed"] or last["bare"] or last["line"]).upper()
    bracketed = _last(_CHOICE_BRACKETED.finditer(text))
    return bracketed[1] if bracketed else None


def _is_letter(match: re.Match[str]) -> bool:
    """False for the article in "the answer is a matter of …": a bare letter must be a capital."""
    return match["bare"] is None or match["bare"].isupper()


def text(answer: str) -> str | None:
    """The whole answer with case, white space, wrapping quotes and final punctuation levelled."""
    levelled = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", answer).casefold())
    return " ".join(levelled.split()).strip("\"'`“”‘’ ").rstrip(".!?;, ") or None


def code(text: str) -> str | None:
    """The last fenced block marked Python, else the last unmarked, else the last; bare text if it starts as Python."""
    blocks = list(_fenced(text.replace("\r\n", "\n")))
    if not blocks:
        return _tidy(text) if _PYTHON_START.match(text.lstrip()) else None
    for wanted in (("python", "py", "python3"), ("",)):
        of_kind = [body for language, body in blocks if language in wanted]
        if of_kind:
            return of_kind[-1]
    return blocks[-1][1]


def _fenced(text: str) -> Iterator[tuple[str, str]]:
    """(language, code) of each non-empty block; one left open runs to the end."""
    fences = list(_FENCE.finditer(text))
    for opening, closing in zip(fences[::2], [*fences[1::2], None], strict=False):
        body = _tidy(text[opening.end() : closing.start() if closing else len(text)])
        if body is not None:
            yield opening[1].lower(), body


def _tidy(source: str) -> str | None:
    lines = [line.rstrip() for line in textwrap.dedent(source).splitlines()]
    return "\n".join(lines).strip("\n") or None


def _last(matches: Iterator[re.Match[str]]) -> re.Match[str] | None:
    return next(iter(deque(matches, maxlen=1)), None)


EXTRACTORS: Mapping[str, Extractor] = MappingProxyType(
    {"number": number, "math": math, "boxed": math, "choice": choice, "text": text, "code": code}
)


def extractor(name: str) -> Extractor:
    """The extractor called `name`, or the function at a dotted path `package.module:function`.

    Names joined by `+` are tried in turn: `code+number` reads a program where there is one, else a number.

    Raises:
        UnknownNameError: no extractor has that name.
        ConfigError: the dotted path leads nowhere.
    """
    if name in EXTRACTORS:
        return EXTRACTORS[name]
    if "+" in name:
        tried = tuple(extractor(part) for part in name.split("+"))
        return lambda text: next((found for each in tried if (found := each(text)) is not None), None)
    module, colon, attribute = name.partition(":")
    if not colon:
        raise UnknownNameError("extractor", name, EXTRACTORS, "A dotted path 'package.module:function' works too.")
    try:
        found: Extractor = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"extractor {name!r} cannot be loaded: {error}. Use one of {', '.join(EXTRACTORS)}."
        ) from error
    return found
