"""Examples in a question become tests that are run; nothing else in it does."""

import pytest

from archon.zoo.minicode import minicode_tasks
from layers._examples import examples


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("f(xs): add them up. f([1, 2]) == 3 ; f([]) == 0 ", ["assert f([1, 2]) == 3", "assert f([]) == 0"]),
        ("Write area(w, h). Example: area(2, 3) -> 6.", ["assert area(2, 3) == 6"]),
        ("`half(3) == 1.5`, and half(0) => 0", ["assert half(3) == 1.5", "assert half(0) == 0"]),
        ('say("a)b") == "(x, y)"', ['assert say("a)b") == "(x, y)"']),
        ("t(a=1) == (1, 2) and so on", ["assert t(a=1) == (1, 2)"]),
        (
            "def f(x):\n    '''\n    >>> f(2)\n    4\n    >>> f('a')\n    'aa'\n    '''",
            ["assert f(2) == 4", "assert f('a') == 'aa'"],
        ),
        ("f(1) == f(1)", []),  # neither side says what the result is
        ("f(x) == 3", []),  # a name is no literal
        ("What is 3 (or 4) == 5?", []),
        ("os.system('ls') == 0", []),
        (">>> f(2)\nTraceback (most recent call last):\n  ...\nValueError", []),
        ("f(1) == 2 f(1) == 2", ["assert f(1) == 2"]),
        ("(" * 5000 + "f(" * 5000, []),
    ],
)
def test_examples_are_calls_with_literals(text: str, found: list[str]) -> None:
    assert list(examples(text)) == found


def test_every_example_of_a_minicode_question_is_found() -> None:
    for task in minicode_tasks(6, 200):
        assert list(examples(task.question)) == [f"assert {call}" for call in task.examples]
