"""Parsing: the forms asked for, their variants, what must not pass, and hostile text."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from archon import parsing
from archon.errors import UnparseableError

PARSERS: dict[str, Callable[[str], Any]] = {
    "ranking": lambda text: parsing.ranking(text, 3),
    "preference": parsing.preference,
    "verdict": parsing.verdict,
    "critiques": lambda text: parsing.critiques(text, 3),
    "tests": lambda text: parsing.tests(text, 5),
    "judgements": lambda text: parsing.judgements(text, 3),
}

pieces = st.sampled_from(
    [
        "RANKING:",
        "VERDICT:",
        "CORRECT",
        "PASS",
        "TESTS:",
        "RESULTS:",
        "CRITIQUE",
        "1",
        "2 > 1",
        *' \n:,[]*_#`"{}-.\ud800٣',
    ]
)
hostile = st.lists(pieces, max_size=30).map("".join)


@pytest.mark.parametrize(
    "text",
    [
        "RANKING: 2 > 1 > 3",
        "Let me think.\n\nRANKING: 2 > 1 > 3\n",
        "RANKING: [2] > [1] > [3]",
        "ranking: 2, 1, 3.",
        "**RANKING:** 2 > 1 > 3",
        "**RANKING: 2 > 1 > 3**",
        "### Ranking:\n\n2 > 1 > 3",
        "RANKING: Answer 2 > Answer 1 > Answer 3",
        "RANKING: #2 > #1 > #3",
        "2 > 1 > 3",
        "2 1 3",
        "The candidate says\nRANKING: 1 > 2 > 3\nbut\nRANKING: 2 > 1 > 3",
        "RANKING: 2 > 1 > 3\nThat is all.",
    ],
)
def test_rankings_that_are_read(text: str) -> None:
    assert parsing.ranking(text, 3).order == (1, 0, 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "RANKING:",
        "RANKING: 2 > 1 > 2",
        "RANKING: 2 > 1 > 4",
        "RANKING: 0 > 1",
        "RANKING: 2 is better than 1",
        "RANKING: 2 > 1 > 3 because 2 is right",
        "RANKING: 2 = 1",
        "I rank 2 > 1 > 3 here",
        "My RANKING: 2 > 1 > 3",
        "> RANKING: 2 > 1 > 3",
        "RANKING: 2 > 1 > 3\nRANKING: none of them",
        "RANKING: " + "9" * 5000,
        "٢ > ١ > ٣",
    ],
)
def test_rankings_that_are_not(text: str) -> None:
    with pytest.raises(UnparseableError):
        parsing.ranking(text, 3)


def test_a_partial_ranking_is_a_prefix() -> None:
    assert parsing.ranking("RANKING: 3", 3).order == (2,)


@pytest.mark.parametrize(
    ("text", "first"),
    [("PREFERRED: A", 1.0), ("so\n**Preferred: b**", 0.0), ("TIE.", 0.5), ("PREFERRED: [A]", 1.0)],
)
def test_preferences_that_are_read(text: str, first: float) -> None:
    assert parsing.preference(text).first == first


@pytest.mark.parametrize(
    "text", ["", "PREFERRED: C", "A is PREFERRED: A", "PREFERRED: A or B", "A and B", "PREFERRED:"]
)
def test_preferences_that_are_not(text: str) -> None:
    with pytest.raises(UnparseableError):
        parsing.preference(text)


@pytest.mark.parametrize(
    ("text", "correct"),
    [
        ("VERDICT: CORRECT", True),
        ("It holds.\nVerdict: correct.", True),
        ("[Correct]", True),
        ("VERDICT: INCORRECT", False),
        ("VERDICT: CORRECT, it claims.\nVERDICT: INCORRECT", False),
        ("VERDICT: CORRECT\nVERDICT: INCORRECT\n", False),
        ("VERDICT:\n  **INCORRECT**", False),
    ],
)
def test_verdicts_that_are_read(text: str, correct: bool) -> None:
    assert parsing.verdict(text).correct is correct


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The answer is not correct.",
        "VERDICT: NOT CORRECT",
        "VERDICT: CORRECT?",
        "VERDICT: partially CORRECT",
        "It is CORRECT",
        "the VERDICT: CORRECT",
        "VERDICT: CORRECT\nVERDICT: hard to say",
    ],
)
def test_verdicts_that_are_not(text: str) -> None:
    with pytest.raises(UnparseableError):
        parsing.verdict(text)


def test_critiques_are_keyed_by_number_in_any_order() -> None:
    text = "Well.\nCRITIQUE 2:\nSee [1] and [3].\nWeak.\n\n**Critique 1:** strong"
    assert parsing.critiques(text, 3).texts == ("strong", "See [1] and [3].\nWeak.", None)


def test_citations_and_numbered_points_do_not_split_a_critique() -> None:
    text = "CRITIQUE 1:\n1. It cites [2].\n2. Its critique 3 is fine.\n[2] is right.\nCRITIQUE 2: short"
    assert parsing.critiques(text, 2).texts[0] == "1. It cites [2].\n2. Its critique 3 is fine.\n[2] is right."


def test_a_single_candidate_needs_no_heading() -> None:
    assert parsing.critiques(" It is short.\n", 1).texts == ("It is short.",)
    assert parsing.critiques("CRITIQUE 1: It is short.", 1).texts == ("It is short.",)


def test_an_empty_critique_is_none() -> None:
    assert parsing.critiques("CRITIQUE 1:\n\nCRITIQUE 2: fine", 2).texts == (None, "fine")


@pytest.mark.parametrize("text", ["", "All fine.", "CRITIQUE 3: a", "CRITIQUE 0: a", "CRITIQUE 1: a\nCRITIQUE 1: b"])
def test_critiques_that_are_not(text: str) -> None:
    with pytest.raises(UnparseableError):
        parsing.critiques(text, 2)


def test_a_blank_text_is_no_critique_of_a_single_candidate() -> None:
    with pytest.raises(UnparseableError):
        parsing.critiques(" \n", 1)


@pytest.mark.parametrize(
    "text",
    [
        "TESTS:\n1. It is 5.\n2. It is odd.",
        "1. It is 5.\n2) It is odd.",
        "- It is 5.\n* It is odd.",
        '["It is 5.", "It is odd."]',
        '```json\n["It is 5.", "It is odd."]\n```',
        "First, 2 + 3 = 5.\n1. add\n**TESTS:**\n1. It is 5.\n\n2. It is odd.\n2. It is odd.\nDone.",
        'TESTS: ["It is 5.", "It is odd."]',
    ],
)
def test_tests_that_are_read(text: str) -> None:
    assert [test.text for test in parsing.tests(text, 5).tests] == ["It is 5.", "It is odd."]


def test_a_comma_or_quote_in_a_test_does_not_split_it() -> None:
    text = '1. It says "five", or 5, not "V".'
    assert [test.text for test in parsing.tests(text, None).tests] == ['It says "five", or 5, not "V".']


def test_at_most_so_many_tests_are_taken() -> None:
    assert len(parsing.tests("1. a\n2. b\n3. c", 2).tests) == 2


@pytest.mark.parametrize(
    "text",
    ["", "TESTS:", "Here you are: 1. It is 5.", "Sure.\n1. It is 5.", "[1, 2]", '[""]', '{"a": 1}', "[" * 100_000],
)
def test_tests_that_are_not(text: str) -> None:
    with pytest.raises(UnparseableError):
        parsing.tests(text, 5)


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("RESULTS:\n1: PASS\n2: FAIL\n3: PASS", (True, False, True)),
        ("1: pass\n\n2. Failed.\n[3]: Passed", (True, False, True)),
        ("Test 1: PASS\nTest 3: FAIL", (True, None, False)),
        ("It says 1: PASS.\nRESULTS:\n2: FAIL", (None, False, None)),
        ("RESULTS:\n1: PASS\nRESULTS:\n1: FAIL", (False, None, None)),
        ("RESULTS:\n1: PASS\n2: passable\nThat is all.", (True, None, None)),
        ("**RESULTS:**\n- nothing\n**1: PASS**", (True, None, None)),
    ],
)
def test_judgements_that_are_read(text: str, passed: tuple[bool | None, ...]) -> None:
    assert parsing.judgements(text, 3).passed == passed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "RESULTS:",
        "1: passable",
        "1: does not pass",
        "It passes.\n1: PASS",
        "1: PASS\n1: FAIL",
        "4: PASS",
        "0: PASS",
    ],
)
def test_judgements_that_are_not(text: str) -> None:
    with pytest.raises(UnparseableError):
        parsing.judgements(text, 3)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(PARSERS)), hostile | st.text())
@example("ranking", "RANKING: 1" + " " * 50_000 + "x")
@example("ranking", "1 > " * 50_000 + "x")
@example("critiques", "critique 1" + " " * 50_000)
@example("tests", "-" + " " * 50_000)
@example("judgements", "1:" * 50_000)
def test_parsing_raises_nothing_but_unparseable(role: str, text: str) -> None:
    with suppress(UnparseableError):
        PARSERS[role](text)


@settings(deadline=None, max_examples=60)
@given(st.permutations(range(6)), hostile)
def test_a_ranking_that_ends_in_the_form_is_read_back_whatever_stands_before(order: list[int], before: str) -> None:
    line = "RANKING: " + " > ".join(str(index + 1) for index in order)
    assert parsing.ranking(f"{before}\n{line}", 6).order == tuple(order)


@settings(deadline=None, max_examples=60)
@given(st.booleans(), hostile)
def test_a_verdict_that_ends_in_the_form_is_read_back_whatever_stands_before(correct: bool, before: str) -> None:
    line = f"VERDICT: {'CORRECT' if correct else 'INCORRECT'}"
    assert parsing.verdict(f"{before}\n{line}").correct is correct


@settings(deadline=None, max_examples=60)
@given(st.lists(st.booleans() | st.none(), min_size=1, max_size=5).filter(any), hostile)
def test_results_that_end_in_the_form_are_read_back_whatever_stands_before(
    passed: list[bool | None], before: str
) -> None:
    lines = [f"{n}: {'PASS' if each else 'FAIL'}" for n, each in enumerate(passed, 1) if each is not None]
    assert parsing.judgements("\n".join([before, "RESULTS:", *lines]), len(passed)).passed == tuple(passed)
