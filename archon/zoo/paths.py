"""The many ways to work one problem: sums in another order, operands changed about, the same answer.

Several paths to one answer are what makes a vote better than its voters: a wrong sum on one path is seldom met on
another, while right paths agree (self-consistency, Wang et al. 2022).
"""

import random

from archon.zoo.mistakes import Line
from archon.zoo.stories import OPERATORS

Steps = tuple[str, ...]


def varied(rng: random.Random, steps: Steps) -> Steps:
    """The same problem worked in a randomly chosen order; every line exact, the last result unchanged."""
    lines = [Line.parse(step) for step in steps]
    if len(lines) > 1 and lines[0].op == lines[1].op == "*" and lines[1].left != lines[0].shown and rng.random() < 0.5:
        lines[:2] = lines[1::-1]
    return tuple(str(_turned(rng, line)) for line in _reordered(rng, lines))


def _turned(rng: random.Random, line: Line) -> Line:
    """Operands of a sum or a product changed about, every other time."""
    turn = line.op in "+*" and rng.random() < 0.5
    return Line(line.right, line.op, line.left, line.shown) if turn else line


def _reordered(rng: random.Random, lines: list[Line]) -> list[Line]:
    """Runs of additions and subtractions to one heap, each run in a random order that stays above zero."""
    done, start = list[Line](), 0
    while start < len(lines):
        end = start + 1
        while end < len(lines) and _follows(lines[end - 1], lines[end]):
            end += 1
        done += _shuffled(rng, lines[start:end])
        start = end
    return done


def _follows(before: Line, line: Line) -> bool:
    return before.op in "+-" and line.op in "+-" and line.left == before.shown


def _shuffled(rng: random.Random, run: list[Line]) -> list[Line]:
    changes = [(line.op, line.right) for line in run]
    if len(run) > 1:
        rng.shuffle(changes)
    held, done = run[0].left, list[Line]()
    for op, amount in changes:
        result = OPERATORS[op](held, amount)
        done.append(Line(held, op, amount, result))
        held = result
    return done if all(line.shown > 0 for line in done) else run
