"""Mixed benchmarks: parts take turns, each question is scored by its own part, options reach who they are for."""

import asyncio

import pytest

from archon.errors import ConfigError
from archon.evals.benchmarks.base import SPLITS
from archon.evals.benchmarks.mixed import PART
from archon.extract import extractor
from archon.registry import benchmark_class
from archon.types import Completion, Usage, assistant

NAME = "ledger+minicode"


def load(**options: object) -> object:
    return benchmark_class(NAME).load(**{"search": 5, "selection": 4, "held_out": 2, **options})


def test_parts_take_turns_and_share_the_number_of_questions() -> None:
    mixed = load()
    # 5 questions: three of the first part, two of the second.
    assert [q.meta[PART] for q in mixed.questions("search")] == ["ledger", "minicode"] * 2 + ["ledger"]
    assert [len(mixed.questions(split)) for split in SPLITS] == [5, 4, 2]


def test_a_question_is_scored_by_its_own_part() -> None:
    ledger = load().questions("search")[0]
    answer = Completion(assistant(f"1 + 1 = 2 ; answer {ledger.reference}"), "m", Usage())
    assert asyncio.run(load().scorer.score(ledger, answer, None)).value == 1.0


def test_answers_of_either_family_are_read() -> None:
    read = extractor(load().extractor)
    assert read("1 + 1 = 2 ; answer 2") == "2"
    assert read("def f(xs): return xs[:2]") == "def f(xs): return xs[:2]"


def test_an_option_of_one_part_goes_to_it_alone() -> None:
    plain, larger = load(), load(**{"ledger.largest": 600})
    questions = [[q.text for q in one.questions("search")] for one in (plain, larger)]
    assert questions[0][1::2] == questions[1][1::2]
    assert questions[0][0::2] != questions[1][0::2]
    assert plain.fingerprint() != larger.fingerprint()


def test_an_option_of_nobody_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"option 'largest' belongs to no part; .* 'ledger.largest'|e\.g\. 'ledger"):
        load(largest=600)


def test_hidden_tests_change_the_fingerprint_and_stay_out_of_the_question() -> None:
    question = load().questions("search")[1]
    assert question.meta["tests"]
    assert not any(test in question.text for test in question.meta["tests"])
