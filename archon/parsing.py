"""Reading what a model was asked to end its answer with. Every function raises UnparseableError and nothing else.

The rules that hold for all roles:

- A marker (`RANKING:`, `PREFERRED:`, `VERDICT:`, `RESULTS:`, `TESTS:`) begins a line; Markdown emphasis around it is
  ignored. The last marker counts, because earlier ones may be quoted from a candidate.
- What follows the marker must be of the form asked for, whole: nothing is searched for inside sentences, so that "not
  correct" is never correct and "passable" is no pass.
- A text that consists of the bare form alone, without a marker, is accepted.
- Numbers are 1-based as shown in the prompt; one that was not shown, or that occurs twice, makes the text unparseable.
"""

from __future__ import annotations

import json
import re

from archon.errors import UnparseableError
from archon.protocols import Critiques, Judgements, Preference, Ranking, Tests, Verdict
from archon.types import UnitTest

# Every repetition is bounded or unambiguous, so that matching takes linear time on hostile text.
_NUMBER = r"(?:answer\s{0,3})?[\[(#]?[0-9]{1,4}[\])]?"
_ORDER = re.compile(rf"{_NUMBER}(?:\s{{0,9}}[>,;\s]\s{{0,9}}{_NUMBER})*\.?", re.IGNORECASE)
_SECTION = re.compile(r"critique\s{1,3}\[?([0-9]{1,4})\]?\s{0,3}:[*_]{0,3}(.*)", re.IGNORECASE)
_JUDGEMENT = re.compile(r"(?:test\s{0,3})?\[?([0-9]{1,4})\]?\s{0,3}[:.)]\s{0,3}(pass|fail)(?:ed)?\.?", re.IGNORECASE)
_ITEM = re.compile(r"(?:[0-9]{1,4}[.):]|[-*•])\s{1,9}(\S.*)")


def ranking(text: str, shown: int) -> Ranking:
    """`RANKING: 2 > 1 > 3`, also with commas or spaces and `[2]`.

    Answers the model left out are left out of the order; the ranker puts them behind, as they were given.
    """
    body = _value("ranking", text)
    if not _ORDER.fullmatch(body):
        raise UnparseableError("no line `RANKING: …` with answer numbers in order")
    return Ranking(_indices(re.findall("[0-9]{1,4}", body), shown))


def preference(text: str) -> Preference:
    """`PREFERRED: A`, `B` or `TIE`."""
    values = {"A": 1.0, "B": 0.0, "TIE": 0.5}
    return Preference(values[_word("preferred", text, tuple(values))])


def verdict(text: str) -> Verdict:
    """`VERDICT: CORRECT` or `INCORRECT`."""
    return Verdict(_word("verdict", text, ("CORRECT", "INCORRECT")) == "CORRECT")


def critiques(text: str, shown: int) -> Critiques:
    """Sections opened by `CRITIQUE n:` at the start of a line; a single candidate's critique needs no heading.

    A number that was left out, or whose section is empty, has None.
    """
    lines = _lines(text)
    heads = [(place, match) for place, line in enumerate(lines) if (match := _SECTION.fullmatch(_bare(line)))]
    if not heads:
        return _headless(text, shown)
    numbers = _indices([match[1] for _, match in heads], shown)
    ends = [place for place, _ in heads[1:]] + [len(lines)]
    found: dict[int, str] = {}
    for number, (place, match), end in zip(numbers, heads, ends, strict=True):
        found[number] = "\n".join([match[2], *lines[place + 1 : end]]).strip()
    return Critiques(tuple(found.get(index) or None for index in range(shown)))


def tests(text: str, most: int | None) -> Tests:
    """A JSON list of sentences, or one test a line, numbered or with bullets, after `TESTS:` where that stands.

    Without the marker every line must be a test. Repeats count once; at most `most` are taken.
    """
    block, marked = _block("tests", text)
    lines = [line.strip() for line in _lines(block) if line.strip()]
    items = [match[1].strip() for line in lines if (match := _ITEM.fullmatch(line))]
    sentences = _from_json(block) or (items if marked or len(items) == len(lines) else [])
    unique = tuple(dict.fromkeys(sentence for sentence in sentences if sentence))
    if not unique:
        raise UnparseableError("no tests: neither a JSON list of sentences nor numbered lines after `TESTS:`")
    return Tests(tuple(UnitTest(sentence) for sentence in unique[:most]))


def judgements(text: str, shown: int) -> Judgements:
    """One line `n: PASS` or `n: FAIL` a test, after `RESULTS:` where that stands; a test left out has None.

    A line of another form is passed over after the marker; without the marker it makes the text unparseable.
    """
    block, marked = _block("results", text)
    lines = [line for line in map(_bare, _lines(block)) if line]
    found = [match for line in lines if (match := _JUDGEMENT.fullmatch(line))]
    if not found or (not marked and len(found) < len(lines)):
        raise UnparseableError("no lines `n: PASS` or `n: FAIL` after `RESULTS:`")
    numbers = _indices([match[1] for match in found], shown)
    passed = {number: match[2].upper() == "PASS" for number, match in zip(numbers, found, strict=True)}
    return Judgements(tuple(passed.get(index) for index in range(shown)))


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").split("\n")


def _bare(text: str) -> str:
    """The text without surrounding spaces and Markdown emphasis."""
    return text.strip(" \t\n*_#`")


def _block(marker: str, text: str) -> tuple[str, bool]:
    """Everything after the last marker and True; the whole text and False where there is none."""
    lines = _lines(text)
    for place in range(len(lines) - 1, -1, -1):
        head, colon, rest = _bare(lines[place]).partition(":")
        if colon and _bare(head).lower() == marker:
            return "\n".join([rest, *lines[place + 1 :]]), True
    return text, False


def _value(marker: str, text: str) -> str:
    """The first line that says something after the last marker; without a marker the whole text."""
    block, marked = _block(marker, text)
    if not marked:
        return _bare(block)
    return next((bare for line in _lines(block) if (bare := _bare(line))), "")


def _word(marker: str, text: str, known: tuple[str, ...]) -> str:
    word = _value(marker, text).removesuffix(".").strip("[]*").upper()
    if word not in known:
        raise UnparseableError(f"no line `{marker.upper()}: {'|'.join(known)}`")
    return word


def _headless(text: str, shown: int) -> Critiques:
    if shown == 1 and text.strip():
        return Critiques((text.strip(),))
    raise UnparseableError("no section `CRITIQUE n:`")


def _indices(numbers: list[str], shown: int) -> tuple[int, ...]:
    """0-based indices. Raises UnparseableError on one that was not shown or occurs twice."""
    indices = tuple(int(number) - 1 for number in numbers)
    if len(set(indices)) < len(indices):
        raise UnparseableError("a number occurs twice")
    if not all(0 <= index < shown for index in indices):
        raise UnparseableError(f"a number is not between 1 and {shown}")
    return indices


def _from_json(block: str) -> list[str]:
    """The strings of a JSON list that is the whole block, in a code fence or not; empty when it is no such list."""
    body = block.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return []
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return [item.strip() for item in value]
    return []
