"""Many ways to one answer: every way is exact, ends alike, and uses the story's own numbers."""

import random

from archon.zoo.ledger import KINDS, ledger_problems
from archon.zoo.mistakes import Line
from archon.zoo.paths import varied
from tests.zoo.test_roles import exact


def test_every_way_is_exact_and_ends_in_the_answer() -> None:
    rng = random.Random(0)
    for problem in ledger_problems(1, 300):
        for _ in range(5):
            steps = varied(rng, problem.steps)
            assert len(steps) == len(problem.steps)
            assert all(exact(step) for step in steps)
            assert Line.parse(steps[-1]).shown == problem.answer


def test_every_way_uses_the_numbers_of_the_story() -> None:
    rng = random.Random(1)
    for problem in ledger_problems(2, 300):
        known = {int(word.strip(".?")) for word in problem.question.split() if word.strip(".?").isdigit()}
        for step in varied(rng, problem.steps):
            line = Line.parse(step)
            assert {line.left, line.right} <= known
            known.add(line.shown)


def test_every_kind_of_story_has_several_ways() -> None:
    rng = random.Random(2)
    for kind in KINDS:
        problem = ledger_problems(3, 1, kinds=[kind], steps=(4, 4))[0]
        assert len({varied(rng, problem.steps) for _ in range(60)}) >= 4


def test_divisions_and_subtractions_keep_their_operands_order() -> None:
    rng = random.Random(3)
    assert varied(rng, ("48 / 4 = 12",)) == ("48 / 4 = 12",)
    assert {varied(rng, ("48 - 4 = 44",)) for _ in range(20)} == {("48 - 4 = 44",)}


def test_no_way_leads_below_one() -> None:
    rng = random.Random(4)
    # 5 - 9 would be below zero, so the growth stays first: operands may turn, the order may not.
    assert {varied(rng, ("5 + 8 = 13", "13 - 9 = 4")) for _ in range(40)} == {
        ("5 + 8 = 13", "13 - 9 = 4"),
        ("8 + 5 = 13", "13 - 9 = 4"),
    }
