"""The pieces of a `minicode` task: one-line steps from a value to a value, each with its words and its code.

A task is a chain of pieces whose types fit. Some words leave open which of several pieces is meant ("keep one
parity"); then only the examples of the task tell, as it is with real requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Kind = Literal["number", "truth", "numbers", "text", "words"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A step from a value of kind `takes` to one of kind `gives`.

    `code` holds `{x}` where the value goes and may hold `{k}`, a small whole number, or `{c}`, a letter, as `words`
    may. `atom` = the code needs no brackets inside another expression.
    """

    name: str
    takes: Kind
    gives: Kind
    code: str
    words: tuple[str, ...]
    vague: str = ""
    """Words that a family of pieces share; empty where there are none."""
    atom: bool = True


def _numbers() -> list[Piece]:
    kept = "[x for x in {x} if x %s]"
    made = "[%s for x in {x}]"
    parity, bound, change = "keep one parity", "keep one side of {k}", "change each by {k}"
    return [
        _list("even", kept % "% 2 == 0", ("keep the even ones", "drop the odd ones"), parity),
        _list("odd", kept % "% 2 == 1", ("keep the odd ones", "drop the even ones"), parity),
        _list("above", kept % "> {k}", ("keep those above {k}", "drop those up to {k}"), bound),
        _list("below", kept % "< {k}", ("keep those below {k}", "drop those from {k} on"), bound),
        _list("not", kept % "!= {k}", ("remove every {k}", "keep all but {k}")),
        _list("raise", made % "x + {k}", ("add {k} to each", "raise each by {k}"), change),
        _list("lower", made % "x - {k}", ("take {k} from each", "lower each by {k}"), change),
        _list("times", made % "x * {k}", ("multiply each by {k}", "make each {k} times as large"), change),
        _list("rest", made % "x % {k}", ("each modulo {k}", "the rest of each by {k}")),
        _list("square", made % "x * x", ("square each", "each times itself")),
        _list("size", made % "abs(x)", ("each without its sign", "absolute values")),
        _list("turn", "{x}[::-1]", ("reverse the list", "from back to front")),
        _list("up", "sorted({x})", ("sort upwards", "smallest first"), "put in order"),
        _list("down", "sorted({x}, reverse=True)", ("sort downwards", "largest first"), "put in order"),
        _list("head", "{x}[:{k}]", ("keep the first {k}", "only the first {k}"), "keep {k} at one end"),
        _list("tail", "{x}[-{k}:]", ("keep the last {k}", "only the last {k}"), "keep {k} at one end"),
        _list("skip", "{x}[{k}:]", ("skip the first {k}", "leave out the first {k}"), "leave out {k} at one end"),
        _list("stop", "{x}[:-{k}]", ("skip the last {k}", "leave out the last {k}"), "leave out {k} at one end"),
        _list("second", "{x}[::2]", ("every second one", "every other one")),
        _list("once", "sorted(set({x}))", ("without repeats, sorted", "each value once, upwards")),
    ]


def _list(name: str, code: str, words: tuple[str, ...], vague: str = "") -> Piece:
    return Piece(name, "numbers", "numbers", code, words, vague)


def _folds() -> list[Piece]:
    end = "one extreme"
    return [
        Piece("sum", "numbers", "number", "sum({x})", ("sum them", "add them up")),
        Piece("count", "numbers", "number", "len({x})", ("count them", "how many")),
        Piece("max", "numbers", "number", "max({x}, default=0)", ("the largest", "the maximum"), end),
        Piece("min", "numbers", "number", "min({x}, default=0)", ("the smallest", "the minimum"), end),
        Piece("many", "numbers", "number", "{x}.count({k})", ("count how many are {k}", "how often {k} occurs")),
        Piece("has", "numbers", "truth", "{k} in {x}", ("is {k} among them", "does {k} occur"), atom=False),
    ]


def _single() -> list[Piece]:
    change = "change by {k}"
    return [
        _number("plus", "{x} + {k}", ("add {k}", "plus {k}"), change),
        _number("minus", "{x} - {k}", ("subtract {k}", "minus {k}"), change),
        _number("by", "{x} * {k}", ("multiply by {k}", "times {k}"), change),
        _number("mod", "{x} % {k}", ("modulo {k}", "the rest by {k}")),
        _number("share", "{x} // {k}", ("divide by {k}, rounded down", "the whole part over {k}"), change),
        _number("from", "{k} - {x}", ("subtract from {k}", "{k} minus it")),
        Piece("abs", "number", "number", "abs({x})", ("drop the sign", "the absolute value")),
        Piece("cap", "number", "number", "min({x}, {k})", ("at most {k}", "cap at {k}"), "limit by {k}"),
        Piece("floor", "number", "number", "max({x}, {k})", ("at least {k}", "raise to {k} if less"), "limit by {k}"),
        Piece("digits", "number", "text", "str({x})", ("write it as text", "as text")),
        _truth("more", "{x} > {k}", ("is it above {k}", "more than {k}"), "compare with {k}"),
        _truth("less", "{x} < {k}", ("is it below {k}", "less than {k}"), "compare with {k}"),
        _truth("fits", "{x} % {k} == 0", ("is it a multiple of {k}", "does {k} divide it")),
    ]


def _number(name: str, code: str, words: tuple[str, ...], vague: str = "") -> Piece:
    return Piece(name, "number", "number", code, words, vague, atom=False)


def _truth(name: str, code: str, words: tuple[str, ...], vague: str = "") -> Piece:
    return Piece(name, "number", "truth", code, words, vague, atom=False)


def _texts() -> list[Piece]:
    letters, sized = "''.join(c for c in {x} if c %s 'aeiou')", "keep {k} letters at one end"
    return [
        _text("back", "{x}[::-1]", ("reverse the text", "from back to front")),
        _text("upper", "{x}.upper()", ("in capitals", "all upper case"), "change the case"),
        _text("title", "{x}.title()", ("capitalise each word", "title case"), "change the case"),
        _text("begin", "{x}[:{k}]", ("keep the first {k} letters", "only the first {k} letters"), sized),
        _text("end", "{x}[-{k}:]", ("keep the last {k} letters", "only the last {k} letters"), sized),
        _text("after", "{x}[{k}:]", ("drop the first {k} letters", "from letter {k} on")),
        _text("vowels", letters % "in", ("keep the vowels", "only the vowels"), "vowels or the others"),
        _text("consonants", letters % "not in", ("drop the vowels", "without the vowels"), "vowels or the others"),
        _text("closed", "{x}.replace(' ', '')", ("remove the spaces", "without spaces")),
        _text("dashed", "{x}.replace(' ', '-')", ("dashes for spaces", "join the words by dashes")),
        _text("without", "{x}.replace('{c}', '')", ("remove every {c}", "without the letter {c}")),
        _text("often", "{x} * {k}", ("repeat it {k} times", "{k} copies in a row"), atom=False),
        Piece("length", "text", "number", "len({x})", ("its length", "how many characters")),
        Piece("letter", "text", "number", "{x}.count('{c}')", ("count the letter {c}", "how many {c}")),
        Piece("split", "text", "words", "{x}.split()", ("take the words", "split into words")),
    ]


def _text(name: str, code: str, words: tuple[str, ...], vague: str = "", *, atom: bool = True) -> Piece:
    return Piece(name, "text", "text", code, words, vague, atom)


def _words() -> list[Piece]:
    return [
        _word("alphabet", "sorted({x})", ("sort the words", "in the order of the alphabet"), "put in order"),
        _word("bylength", "sorted({x}, key=len)", ("shortest word first", "sort by length"), "put in order"),
        _word("flip", "{x}[::-1]", ("last word first", "reverse the words"), "put in order"),
        _word("few", "{x}[:{k}]", ("keep the first {k} words", "only the first {k} words")),
        _word("long", "[w for w in {x} if len(w) > {k}]", ("keep words longer than {k}", "drop words up to {k} long")),
        _word("initials", "[w[0] for w in {x}]", ("the first letter of each", "only the initials")),
        Piece("lengths", "words", "numbers", "[len(w) for w in {x}]", ("the length of each", "how long each is")),
        Piece("join", "words", "text", "' '.join({x})", ("join by spaces", "back into one text")),
        Piece("tight", "words", "text", "''.join({x})", ("join without spaces", "glue together")),
        Piece("number", "words", "number", "len({x})", ("count the words", "how many words")),
    ]


def _word(name: str, code: str, words: tuple[str, ...], vague: str = "") -> Piece:
    return Piece(name, "words", "words", code, words, vague)


PIECES: Mapping[str, Piece] = MappingProxyType(
    {piece.name: piece for made in (_numbers, _folds, _single, _texts, _words) for piece in made()}
)
BY_INPUT: Mapping[Kind, tuple[Piece, ...]] = MappingProxyType(
    {kind: tuple(p for p in PIECES.values() if p.takes == kind) for kind in ("number", "numbers", "text", "words")}
)
