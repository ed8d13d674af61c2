"""The task family `minicode`: true examples, hidden tests, splits by chain, and tasks that the examples settle."""

import random
from itertools import permutations

import pytest

from archon.zoo.ledger import Split
from archon.zoo.minicode import (
    EXAMPLES,
    TESTS,
    Call,
    Chain,
    MiniTask,
    _arguments,
    _fits,
    draw_task,
    minicode_tasks,
    results,
    siblings,
    split_of,
    variants,
)
from archon.zoo.pieces import BY_INPUT, PIECES

TASKS = minicode_tasks(3, 150)


def outcome(code: str, arguments: tuple[object, ...]) -> object:
    """What written code gives, run as a program would run it."""
    space: dict[str, object] = {}
    exec(code, space)
    return space["f"](*arguments)  # type: ignore[operator]


@pytest.mark.parametrize("task", TASKS[:60], ids=lambda task: task.chain.name)
def test_the_written_solution_passes_its_examples_and_hidden_tests(task: MiniTask) -> None:
    for call in (*task.examples, *task.tests):
        try:
            found = outcome(task.solution, call.arguments)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            found = type(error).__name__
        assert found == call.result


def test_every_task_shows_its_examples_and_hides_its_tests() -> None:
    for task in TASKS:
        assert len(task.examples) == EXAMPLES
        assert len(task.tests) == TESTS
        assert all(str(call) in task.question for call in task.examples)
        assert not any(str(call) in task.question for call in task.tests)


def test_no_task_asks_for_a_failure() -> None:
    for task in TASKS:
        assert not any(str(call.result).endswith("Error") for call in (*task.examples, *task.tests))


def test_the_examples_settle_what_vague_words_leave_open() -> None:
    for task in TASKS:
        shown = [call.result for call in task.examples]
        for place, link in enumerate(task.chain.links):
            assert all(results(o, task.examples) != shown for o in variants(task.chain, place, siblings(link.piece)))


def test_splits_share_no_chain() -> None:
    splits: tuple[Split, ...] = ("train", "search", "selection", "held_out")
    chains = [{task.chain.name for task in minicode_tasks(5, 80, split=split)} for split in splits]
    assert len(set().union(*chains)) == sum(map(len, chains))


def test_a_split_is_that_of_the_chain_alone() -> None:
    rng = random.Random(0)
    for split in ("train", "held_out"):
        assert all(split_of(draw_task(rng, split=split).chain) == split for _ in range(10))


def test_one_seed_gives_one_list_and_a_longer_one_extends_it() -> None:
    assert [t.question for t in minicode_tasks(3, 20)] == [t.question for t in TASKS[:20]]
    assert minicode_tasks(4, 20) != TASKS[:20]


def test_there_are_hundreds_of_thousands_of_tasks() -> None:
    # Chains of two and three pieces alone, each with a number of eight and two wordings where it holds one.
    def chains(kind: str, length: int) -> int:
        if length == 0:
            return 1
        pieces = BY_INPUT.get(kind, ())  # type: ignore[call-overload]
        return sum((8 if "{k}" in p.code else 1) * len(p.words) * chains(p.gives, length - 1) for p in pieces)

    assert sum(chains(kind, 3) for kind in ("numbers", "text")) > 300_000


def test_every_piece_occurs() -> None:
    rng = random.Random(1)
    seen = {link.piece.name for _ in range(1200) for link in draw_task(rng).chain.links}
    assert seen == set(PIECES)


def test_too_many_steps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"steps=\(2, 9\) must lie within 1..5"):
        draw_task(random.Random(0), steps=(2, 9))


@pytest.mark.parametrize("split", ["search", "selection", "held_out"])
def test_no_evaluation_task_is_a_reordered_task_of_another_split(split: Split) -> None:
    rng = random.Random(split)
    for task in minicode_tasks(11, 40, split=split):
        calls = tuple(Call(_arguments(rng, task.chain.start), None) for _ in range(40))
        meant = results(task.chain, calls)
        for links in permutations(task.chain.links):
            other = Chain(task.chain.start, links)
            if _fits(other) and split_of(other) != split:
                assert results(other, calls) != meant
