"""The five stories of the ledger family: each writes one question and the arithmetic that answers it.

A story takes a random source, a number of steps (2 to 4) and the largest number allowed, and returns a draft whose
every number, results included, lies in 1..largest, or None where the draw does not fit (the caller draws again).
"""

import operator
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

OPERATORS: Mapping[str, Callable[[int, int], int]] = MappingProxyType(
    {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.floordiv}
)
_NAMES = ("Ann", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana")
_THINGS = ("apples", "books", "cups", "eggs", "lamps", "nails", "pens", "shells")


@dataclass(frozen=True, slots=True)
class Step:
    """One line of working: `left op right`."""

    left: int
    op: str
    right: int

    @property
    def result(self) -> int:
        return OPERATORS[self.op](self.left, self.right)

    def __str__(self) -> str:
        return f"{self.left} {self.op} {self.right} = {self.result}"


@dataclass(frozen=True, slots=True)
class Draft:
    """A question and its steps, not yet placed in a split."""

    question: str
    steps: tuple[Step, ...]


def _finish(text: list[str], steps: list[Step], largest: int) -> Draft | None:
    fits = all(0 < n <= largest for s in steps for n in (s.left, s.right, s.result))
    exact = all(s.op != "/" or s.left % s.right == 0 for s in steps)
    return Draft(" ".join(text), tuple(steps)) if fits and exact else None


def _change(rng: random.Random, held: int, largest: int) -> tuple[str, Step] | None:
    """A sentence in which some things come or go."""
    grow = rng.random() < 0.5
    room = largest - held if grow else held - 1
    if room < 2:
        return None
    amount = rng.randint(2, min(room, largest // 2))
    coming = ("A cart brings {} more.", "{} more are found.", "A friend gives {}.")
    going = ("Then {} are sold.", "{} are lost.", "A child takes {}.")
    return rng.choice(coming if grow else going).format(amount), Step(held, "+" if grow else "-", amount)


def _changes(rng: random.Random, text: list[str], steps: list[Step], count: int, largest: int) -> bool:
    for _ in range(count):
        change = _change(rng, steps[-1].result, largest)
        if change is None:
            return False
        text.append(change[0])
        steps.append(change[1])
    return True


def stock(rng: random.Random, count: int, largest: int) -> Draft | None:
    """A heap that grows and shrinks: addition and subtraction only."""
    start, thing = rng.randint(10, largest * 2 // 3), rng.choice(_THINGS)
    first = _change(rng, start, largest)
    if first is None:
        return None
    text, steps = [f"{rng.choice(_NAMES)} has {start} {thing}.", first[0]], [first[1]]
    if not _changes(rng, text, steps, count - 1, largest):
        return None
    return _finish([*text, f"How many {thing} are left?"], steps, largest)


def shop(rng: random.Random, count: int, largest: int) -> Draft | None:
    """A bill: prices times quantities, summed, and the change or the total asked for."""
    name, (one, two) = rng.choice(_NAMES), rng.sample(_THINGS, 2)
    steps = [Step(rng.randint(2, 12), "*", rng.randint(3, 29 * largest // 300))]
    text = [f"{name} buys {steps[0].left} {one} at {steps[0].right} coins each."]
    if count > 2:
        other = Step(rng.randint(2, 9), "*", rng.randint(3, 19 * largest // 300))
        text.append(f"{name} buys {other.left} {two} at {other.right} coins each.")
        steps += [other, Step(steps[0].result, "+", other.result)]
    if len(steps) < count:
        text.append(_pay(rng, steps, largest))
    else:
        text.append("What is the bill?")
    return _finish(text, steps, largest)


def _pay(rng: random.Random, steps: list[Step], largest: int) -> str:
    due = steps[-1].result
    if rng.random() < 0.5:
        purse = rng.randint(due + 1, max(largest, due + 1))
        steps.append(Step(purse, "-", due))
        return f"A purse holds {purse} coins. How many coins are left?"
    tip = rng.randint(2, 40 * largest // 300)
    steps.append(Step(due, "+", tip))
    return f"The cart home costs {tip} coins. What is the bill?"


def share(rng: random.Random, count: int, largest: int) -> Draft | None:
    """Equal shares: an exact division, with changes before it (the heap) and after it (one share)."""
    thing, friends, each = rng.choice(_THINGS), rng.randint(2, 9), rng.randint(4, 40 * largest // 300)
    total, moved = friends * each, rng.randint(2, largest // 2)
    grown = rng.random() < 0.5
    first = Step(total - moved, "+", moved) if grown else Step(total + moved, "-", moved)
    text = [f"A box holds {first.left} {thing}.", f"{moved} more are found." if grown else f"{moved} are lost."]
    text.append(f"{friends} friends share them.")
    steps = [first, Step(total, "/", friends)]
    if not _changes(rng, text, steps, count - 2, largest):
        return None
    return _finish([*text, f"How many {thing} has one friend?"], steps, largest)


def compare(rng: random.Random, count: int, largest: int) -> Draft | None:
    """Who has how many: more, fewer and times as many, then a total."""
    (a, b, c), thing = rng.sample(_NAMES, 3), rng.choice(_THINGS)
    more = rng.random() < 0.5
    steps = [Step(rng.randint(6, largest // 3), "+" if more else "-", rng.randint(2, largest // 4))]
    text = [f"{a} has {steps[0].left} {thing}."]
    text.append(f"{b} has {steps[0].right} {'more' if more else 'fewer'} than {a}.")
    held = steps[0].result
    if count == 2:
        steps.append(Step(steps[0].left, "+", held))
        return _finish([*text, f"How many have {a} and {b}?"], steps, largest)
    steps.append(Step(rng.randint(2, 6), "*", held))
    text.append(f"{c} has {steps[1].left} times as many as {b}.")
    steps.append(Step(held, "+", steps[1].result))
    if count == 3:
        return _finish([*text, f"How many have {b} and {c}?"], steps, largest)
    steps.append(Step(steps[0].left, "+", steps[2].result))
    return _finish([*text, "How many have they in all?"], steps, largest)


def rate(rng: random.Random, count: int, largest: int) -> Draft | None:
    """So many an hour for some hours, then changes, and at last perhaps boxes of equal size."""
    thing = rng.choice(_THINGS)
    steps = [Step(rng.randint(3, 40 * largest // 300), "*", rng.randint(2, 9))]
    text = [f"A mill makes {steps[0].left} {thing} an hour.", f"It runs {steps[0].right} hours."]
    boxed = rng.random() < 0.4
    if not _changes(rng, text, steps, count - 2 if boxed else count - 1, largest):
        return None
    if not boxed:
        return _finish([*text, f"How many {thing} are left?"], steps, largest)
    sizes = [n for n in range(2, 10) if steps[-1].result % n == 0]
    if not sizes:
        return None
    steps.append(Step(steps[-1].result, "/", rng.choice(sizes)))
    return _finish([*text, f"{steps[-1].right} fit in a box.", "How many boxes are full?"], steps, largest)
