"""Wrong solutions that resemble what a small model really gets wrong: slips, wrong operations, dropped steps.

A mistake is made in one line and carried through the lines that build on it, as a real solver would carry it.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from archon.zoo.stories import OPERATORS

_CONFUSED = {"+": "-*", "-": "+", "*": "+", "/": "-*"}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of somebody's working; `shown` is the result they wrote, right or not."""

    left: int
    op: str
    right: int
    shown: int

    @classmethod
    def parse(cls, text: str) -> "Line":
        left, op, right, _, shown = text.split()
        return cls(int(left), op, int(right), int(shown))

    def __str__(self) -> str:
        return f"{self.left} {self.op} {self.right} = {self.shown}"


def wrong_solution(rng: random.Random, steps: Sequence[str]) -> str:
    """A solution that follows the right `steps` up to a mistake, so that its final answer is wrong."""
    right = [Line.parse(step) for step in steps]
    makers: list[Callable[[random.Random, list[Line]], list[Line] | None]] = [_slip, _slip, _confuse, _swap, _drop]
    for _ in range(100):
        lines = rng.choice(makers)(rng, right)
        if lines and lines[-1].shown != right[-1].shown and all(0 <= line.shown < 10_000 for line in lines):
            return written(lines)
    return written([*right[:-1], replace(right[-1], shown=right[-1].shown + 1)])


def written(lines: list[Line]) -> str:
    """Lines of working as solution text."""
    return " ; ".join([*map(str, lines), f"answer {lines[-1].shown}"])


def _carried(right: list[Line], index: int, changed: Line) -> list[Line] | None:
    """`right` with line `index` replaced, and every later line that used its result computed anew."""
    lines = [*right[:index], changed]
    moved = {right[index].shown: changed.shown}
    for line in right[index + 1 :]:
        left, by = moved.get(line.left, line.left), moved.get(line.right, line.right)
        if line.op == "/" and by == 0:
            return None
        lines.append(Line(left, line.op, by, OPERATORS[line.op](left, by)))
        moved[line.shown] = lines[-1].shown
    return lines


def _slip(rng: random.Random, right: list[Line]) -> list[Line] | None:
    index = rng.randrange(len(right))
    line = right[index]
    digits = len(str(line.shown))
    shown = line.shown + rng.choice((-1, 1)) * rng.randint(1, 3) * 10 ** rng.randrange(min(digits, 2))
    return _carried(right, index, replace(line, shown=shown))


def _confuse(rng: random.Random, right: list[Line]) -> list[Line] | None:
    index = rng.randrange(len(right))
    line = right[index]
    op = rng.choice(_CONFUSED[line.op])
    return _carried(right, index, replace(line, op=op, shown=OPERATORS[op](line.left, line.right)))


def _swap(rng: random.Random, right: list[Line]) -> list[Line] | None:
    """A number of the story put in the place of another."""
    index = rng.randrange(len(right))
    line, other = right[index], rng.choice(right)
    number = rng.choice((other.left, other.right))
    if number == 0 or number == line.right:
        return None
    return _carried(right, index, replace(line, right=number, shown=OPERATORS[line.op](line.left, number)))


def _drop(rng: random.Random, right: list[Line]) -> list[Line] | None:
    index = rng.randrange(len(right))
    if index == len(right) - 1:
        return right[:-1]
    kept = _carried(right, index, replace(right[index], shown=right[index].left))
    return kept and [*kept[:index], *kept[index + 1 :]]
