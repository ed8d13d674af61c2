"""The task family `minicode`: a one-line Python function from a sentence and three examples, scored by hidden tests.

A task is a chain of two to four pieces (`pieces.py`). Where the words leave open which piece is meant, the examples
decide. Every task belongs to exactly one split, by a hash of its *chain*: numbers and wording do not enter, so what a
model was trained on never comes again with other numbers. Nor does it come in another order: a task of an evaluation
split whose pieces, reordered, do the same in another split is left out. Whoever solves a held-out task has composed it.
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import permutations
from types import MappingProxyType
from typing import Any

from archon.zoo.ledger import Split, split_in
from archon.zoo.pieces import BY_INPUT, Kind, Piece

ENTRY_POINT = "f"
EXAMPLES, TESTS = 3, 10
_ATTEMPTS = 10_000
_PROBES = 60  # arguments on which two functions that agree are taken to be the same
_LONGEST = 40  # characters of an argument or a result, written out
# How a chain starts: the parameters, the expression they begin with, its kind, and its words.
_STARTS: Mapping[str, tuple[str, str, Kind, str]] = MappingProxyType(
    {
        "xs": ("xs", "xs", "numbers", ""),
        "s": ("s", "s", "text", ""),
        "n": ("n", "n", "number", ""),
        "add": ("a, b", "a + b", "number", "add a and b"),
        "less": ("a, b", "a - b", "number", "take b from a"),
        "times": ("a, b", "a * b", "number", "multiply a by b"),
        "larger": ("a, b", "max(a, b)", "number", "the larger of a and b"),
        "smaller": ("a, b", "min(a, b)", "number", "the smaller of a and b"),
    }
)
# Lists and texts compose to far more chains than single numbers do.
_WEIGHTS = (8.0, 7.0, 1.0, 0.6, 0.6, 0.6, 0.6, 0.6)
_WORDS = ("red", "blue", "apple", "pear", "tea", "ox", "river", "sun", "moon", "stone", "Ann", "Ben", "map", "ice")


@dataclass(frozen=True, slots=True)
class Link:
    """A piece in a chain, with its number and letter filled in."""

    piece: Piece
    k: int
    c: str

    def code(self, inner: str, *, wrap: bool) -> str:
        """The expression of this step over the expression `inner`."""
        held = f"({inner})" if wrap and "({x}" not in self.piece.code else inner
        return self.piece.code.replace("{k}", str(self.k)).replace("{c}", self.c).replace("{x}", held)

    def said(self, words: str) -> str:
        return words.replace("{k}", str(self.k)).replace("{c}", self.c)


@dataclass(frozen=True, slots=True)
class Chain:
    """A function: how it starts, and its steps in order."""

    start: str
    links: tuple[Link, ...]

    @property
    def name(self) -> str:
        """The template combination: what a split is decided by."""
        return ">".join((self.start, *(link.piece.name for link in self.links)))

    @property
    def parameters(self) -> str:
        return _STARTS[self.start][0]

    @property
    def expression(self) -> str:
        code = _STARTS[self.start][1]
        atom = " " not in code or code.endswith(")")
        for link in self.links:
            code, atom = link.code(code, wrap=not atom), link.piece.atom
        return code

    @property
    def code(self) -> str:
        return f"def {ENTRY_POINT}({self.parameters}): return {self.expression}"

    def function(self) -> Callable[..., Any]:
        """The function itself; the code is made of `pieces.py` alone, so it is safe to run here."""
        made: Callable[..., Any] = eval(f"lambda {self.parameters}: {self.expression}")
        return made


@dataclass(frozen=True, slots=True)
class Call:
    """A call and its result, both as Python literals: `([1, 2],)` and `3`."""

    arguments: tuple[Any, ...]
    result: Any

    def __str__(self) -> str:
        return f"{ENTRY_POINT}({', '.join(map(repr, self.arguments))}) == {self.result!r}"


@dataclass(frozen=True, slots=True)
class MiniTask:
    """A task: its text with the examples in it, the function meant, and the hidden tests."""

    question: str
    chain: Chain
    examples: tuple[Call, ...]
    tests: tuple[Call, ...]

    @property
    def solution(self) -> str:
        return self.chain.code

    @property
    def kind(self) -> str:
        """What the function takes: `xs` (a list), `s` (a text), `n` (a number) or `a, b` (two)."""
        return self.chain.parameters


def split_of(chain: Chain) -> Split:
    """The one split a chain belongs to."""
    return split_in(int.from_bytes(hashlib.sha256(f"minicode:{chain.name}".encode()).digest()[:4]) % 100)


def draw_task(rng: random.Random, *, split: Split = "train", steps: tuple[int, int] = (2, 4)) -> MiniTask:
    """One task of `split`; `steps` is an inclusive range of the number of pieces, within 1..5."""
    if not 1 <= steps[0] <= steps[1] <= 5:
        raise ValueError(f"minicode: steps={steps} must lie within 1..5")
    for _ in range(_ATTEMPTS):
        chain = _chain(rng, rng.randint(*steps))
        if chain is not None and split_of(chain) == split:
            task = _task(rng, chain)
            if task is not None and (split == "train" or not _elsewhere(chain, split)):
                return task
    raise ValueError(f"minicode: found no task of split {split} with steps={steps}")


def minicode_tasks(
    seed: int, count: int, *, split: Split = "held_out", steps: tuple[int, int] = (2, 4)
) -> list[MiniTask]:
    """`count` distinct tasks of `split`; the same arguments give the same list, and a longer list extends it."""
    rng = random.Random(f"minicode:{seed}:{split}")
    found: dict[str, MiniTask] = {}
    for _ in range(count * 100):
        if len(found) == count:
            return list(found.values())
        task = draw_task(rng, split=split, steps=steps)
        found.setdefault(task.question, task)
    raise ValueError(f"minicode: only {len(found)} distinct tasks of {count} asked; widen steps")


def siblings(piece: Piece) -> list[Piece]:
    """The other pieces that the same vague words may mean."""
    return [p for p in BY_INPUT[piece.takes] if p.vague == piece.vague and p.vague and p is not piece]


def variants(chain: Chain, place: int, pieces: list[Piece]) -> Iterator[Chain]:
    """The chain with the piece at `place` exchanged for each of `pieces`."""
    for piece in pieces:
        link = replace(chain.links[place], piece=piece)
        yield replace(chain, links=(*chain.links[:place], link, *chain.links[place + 1 :]))


def results(chain: Chain, calls: tuple[Call, ...]) -> list[Any]:
    """What a chain gives on the arguments of some calls; an exception's name where it fails."""
    function = chain.function()
    return [_result(function, call.arguments) for call in calls]


def _result(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return function(*arguments)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return type(error).__name__


def _chain(rng: random.Random, length: int) -> Chain | None:
    start = rng.choices(list(_STARTS), _WEIGHTS)[0]
    kind: Kind = _STARTS[start][2]
    links = list[Link]()
    for _ in range(length):
        fitting = BY_INPUT.get(kind, ())
        if not fitting:
            return None
        piece = rng.choice(fitting)
        links.append(Link(piece, rng.randint(2, 9 if kind in ("number", "numbers") else 4), rng.choice("aeorst")))
        kind = piece.gives
    return Chain(start, tuple(links))


def _task(rng: random.Random, chain: Chain) -> MiniTask | None:
    function = chain.function()
    calls = dict[str, Call]()
    for _ in range(40):
        arguments = _arguments(rng, chain.start)
        call = Call(arguments, _result(function, arguments))
        if len(repr(call.result)) <= _LONGEST and len(str(call)) <= 2 * _LONGEST:
            calls.setdefault(repr(arguments), call)
    made = tuple(calls.values())[: EXAMPLES + TESTS]
    examples, tests = made[:EXAMPLES], made[EXAMPLES:]
    if len(made) < EXAMPLES + TESTS or not _telling(chain, examples, tests):
        return None
    return MiniTask(_question(rng, chain, examples), chain, examples, tests)


def _elsewhere(chain: Chain, split: Split) -> bool:
    """Whether the chain's pieces in another order, of another split, make the same function.

    Asked for evaluation alone, so that the lessons need not change: what is left there is new as a combination too.
    """
    rng, outcomes = random.Random(chain.name), list[Any]()
    calls = tuple(Call(_arguments(rng, chain.start), None) for _ in range(_PROBES))
    for links in set(permutations(chain.links)) - {chain.links}:
        other = Chain(chain.start, links)
        if _fits(other) and split_of(other) != split:
            outcomes = outcomes or results(chain, calls)
            if results(other, calls) == outcomes:
                return True
    return False


def _fits(chain: Chain) -> bool:
    """Whether each piece takes what the one before it gives."""
    kind: Kind = _STARTS[chain.start][2]
    for link in chain.links:
        if link.piece.takes != kind:
            return False
        kind = link.piece.gives
    return True


def _telling(chain: Chain, examples: tuple[Call, ...], tests: tuple[Call, ...]) -> bool:
    """Results differ, no step is idle, and the examples tell what vague words could mean."""
    calls = (*examples, *tests)
    outcomes, shown = [call.result for call in calls], [call.result for call in examples]
    if len(set(map(repr, outcomes))) < (2 if isinstance(outcomes[0], bool) else 3):
        return False
    places = range(len(chain.links))
    return all(results(other, calls) != outcomes for place in places for other in _without(chain, place)) and all(
        results(other, examples) != shown
        for place in places
        for other in variants(chain, place, siblings(chain.links[place].piece))
    )


def _without(chain: Chain, place: int) -> Iterator[Chain]:
    """The chain without the piece at `place`, where it still fits."""
    piece = chain.links[place].piece
    if piece.takes == piece.gives and len(chain.links) > 1:
        yield replace(chain, links=(*chain.links[:place], *chain.links[place + 1 :]))


def _question(rng: random.Random, chain: Chain, examples: tuple[Call, ...]) -> str:
    first = _STARTS[chain.start][3]
    said = [first] if first else []
    for link in chain.links:
        piece = link.piece
        said.append(link.said(piece.vague if piece.vague and rng.random() < 0.4 else rng.choice(piece.words)))
    shown = " ; ".join(map(str, examples))
    return f"{ENTRY_POINT}({chain.parameters}): {', then '.join(said)}. {shown}"


def _arguments(rng: random.Random, start: str) -> tuple[Any, ...]:
    kind = _STARTS[start][2]
    if kind == "numbers":
        return ([_small(rng) for _ in range(rng.choice((0, 1, 3, 4, 5, 6, 7)))],)
    if kind == "text":
        return (" ".join(rng.choice(_WORDS) for _ in range(rng.choice((1, 2, 3, 3, 4)))),)
    return tuple(_small(rng) for _ in range(2 if "," in _STARTS[start][0] else 1))


def _small(rng: random.Random) -> int:
    return rng.randint(-9, 20) if rng.random() < 0.7 else rng.randint(2, 9)
