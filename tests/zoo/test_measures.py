"""The measures: a model that is always right scores 100 %, one that is always wrong 0 %, and intervals are Wilson's."""

import random
from collections.abc import Callable, Sequence

import pytest

from archon.zoo import measures
from archon.zoo.card import table
from archon.zoo.desk import Attempt
from archon.zoo.evaluate import SAMPLES, measure
from archon.zoo.families import FAMILIES
from archon.zoo.generate import Prompt, Speaker
from archon.zoo.judging import calibrated
from archon.zoo.ledger import LedgerProblem, ledger_problems
from archon.zoo.ledger_desk import LedgerDesk, answer_of, critique_of, passes
from archon.zoo.measures import Pool, Share, together
from archon.zoo.minicode import minicode_tasks
from archon.zoo.mistakes import wrong_solution

PROBLEMS = ledger_problems(4, 30, split="search")
LEDGER = FAMILIES["ledger"]


class Scripted(Speaker):
    """Samples half right and half wrong solutions; plays every other role perfectly, or perfectly wrongly."""

    def __init__(self, *, right: bool) -> None:
        self.right, self.rng = right, random.Random(0)
        self.problems = {problem.question: problem for problem in PROBLEMS}

    def say(
        self, prompts: Sequence[Prompt], *, temperature: float = 0.0, seed: int = 0, most: int = 400, batch: int = 128
    ) -> list[str]:
        return [self._one(role, list(parts), temperature) for role, parts in prompts]

    def _one(self, role: str, parts: list[str], temperature: float) -> str:
        if role == "verdict":
            return "yes"  # what counts is whether the two answers are equal
        problem = self.problems[parts[0]]
        labelled = list(zip(parts[1::2], parts[2::2], strict=True))
        texts = [text for label, text in labelled if label == "candidate"]
        tests = [text for label, text in labelled if label == "test"]
        good = [answer_of(text) == str(problem.answer) for text in texts]
        if temperature and role == "solve":
            return problem.solution if self.rng.random() < 0.5 else wrong_solution(self.rng, problem.steps)
        solution = problem.solution if self.right else wrong_solution(self.rng, problem.steps)
        plays: dict[str, Callable[[], str]] = {
            "solve": lambda: solution,
            "fuse": lambda: solution,
            # A verdict is read off the reasoning: who always errs comes to what a wrong candidate says.
            "verify": lambda: solution if self.right or good[0] else texts[0],
            "rank": lambda: f"{solution}\norder {good.index(self.right) + 1}",
            "compare": lambda: f"{solution}\nbetter {'AB'[good.index(self.right)]}",
            "critique": lambda: "\n".join([solution, *self._critiques(problem, texts, good)]),
            "write_tests": lambda: "\n".join([solution, *self._tests(problem)]),
            "judge_tests": lambda: " ; ".join(self._judgements(texts[0], tests)),
        }
        return plays[role]()

    def _critiques(self, problem: LedgerProblem, texts: list[str], good: list[bool]) -> list[str]:
        said = [critique_of(Attempt(text, is_good, problem.steps)) for text, is_good in zip(texts, good, strict=True)]
        return [f"{i} : {text}" for i, text in enumerate(said if self.right else said[::-1], 1)]

    def _tests(self, problem: LedgerProblem) -> list[str]:
        return LedgerDesk(self.rng, problem).tests() if self.right else [f"is more than {problem.answer}"]

    def _judgements(self, text: str, tests: list[str]) -> list[str]:
        return [f"{i} {'pass' if passes(t, text) == self.right else 'fail'}" for i, t in enumerate(tests, 1)]


JUDGED = ("greedy", "fuse", "rank first", "compare", "critique", "verify", "tests sound", "tests judged")


@pytest.mark.parametrize(("right", "value"), [(True, 1.0), (False, 0.0)])
def test_a_perfect_model_scores_one_and_its_opposite_zero(right: bool, value: float) -> None:
    speaker = Scripted(right=right)
    found = measure(speaker, measures.sampled(speaker, LEDGER, PROBLEMS, max(SAMPLES)))
    assert {name: found[name][0] for name in JUDGED} == dict.fromkeys(JUDGED, value)
    # The samples were drawn half right, so neither measure of them can be at an end of the scale.
    assert 0 < found["sampled"][0] < 1
    assert 0 < found["rank chance"] < 1


def test_the_table_has_a_row_for_every_figure() -> None:
    speaker = Scripted(right=True)
    found = measure(speaker, measures.sampled(speaker, LEDGER, PROBLEMS, max(SAMPLES)))
    rows = table({"one": found}, "percent right").split("\n")
    assert len(rows) == sum(figure is not None for figure in found.values()) + 2
    # 30 of 30: Wilson's lower bound is n / (n + z²) = 30 / 33.84 = 0.887.
    assert rows[2] == "| solve, greedy | 100.0% (88.6–100.0) |" or rows[2] == "| solve, greedy | 100.0% (88.7–100.0) |"


def test_wilson_interval_of_a_known_case() -> None:
    # 8 of 10 and z = 1.96: centre (0.8 + 0.19208) / 1.38415 = 0.71675,
    # half width 1.96·√(0.016 + 0.0096036) / 1.38415 = 0.22658
    low, high = Share(8, 10).interval
    assert low == pytest.approx(0.4902, abs=2e-4)
    assert high == pytest.approx(0.9433, abs=2e-4)


def test_outcomes_of_one_question_count_for_fewer() -> None:
    # Ten questions, ten outcomes each, all alike: as good as ten outcomes.
    alike = measures.clustered([[i < 8] * 10 for i in range(10)])
    assert (alike.hits, alike.count) == (80, 100)
    assert alike.interval == pytest.approx(Share(8, 10).interval, abs=0.03)
    # No more alike than those of different questions: as good as a hundred.
    mixed = measures.clustered([[True] * 8 + [False] * 2 for _ in range(10)])
    assert mixed.interval == Share(80, 100).interval
    assert measures.clustered([[True], [], [True]]).interval == Share(2, 2).interval
    assert measures.clustered([]).count == 0


def test_a_written_test_of_code_is_run_on_the_right_function() -> None:
    (task,) = minicode_tasks(5, 1)
    holds = FAMILIES["minicode"].holds
    right = str(task.tests[0])
    assert holds(task, f"assert {right}") is True
    assert holds(task, f"assert {right.partition(' == ')[0]} == 'no such result'") is False
    assert [holds(task, text) for text in ("assert f(", "assert f(open('x')) == 1", "is even")] == [None, None, None]


def test_a_vote_takes_the_most_frequent_answer() -> None:
    problem = LedgerProblem("q", ("1 + 1 = 2",), 2, "stock")
    texts = [["answer 2", "answer 3", "answer 2"], ["answer 3", "answer 3", "answer 2"]]
    pool = Pool.marked(LEDGER, [problem, problem], texts)
    assert measures.voted(pool) == [True, False]
    assert measures.best_of(pool) == [True, True]
    assert measures.best_of(pool.first(1)) == [True, False]


def test_models_vote_together() -> None:
    problem = LedgerProblem("q", ("1 + 1 = 2",), 2, "stock")
    one, right, wrong = (
        Pool.marked(LEDGER, [problem], [texts]) for texts in (["answer 2", "answer 3"], ["answer 2"], ["answer 3"])
    )
    assert measures.voted(together([one, right])) == [True]
    assert measures.voted(together([one, wrong])) == [False]


def test_functions_are_marked_by_their_hidden_tests() -> None:
    first, second = minicode_tasks(5, 2)
    answers = [(first, first.solution), (first, second.solution), (first, "no code"), (second, second.solution)]
    assert FAMILIES["minicode"].mark(answers) == [True, False, False, True]


def test_a_verifier_that_knows_is_calibrated() -> None:
    speaker = Scripted(right=True)
    bins, error = calibrated(speaker, measures.sampled(speaker, LEDGER, PROBLEMS, 4))
    # It says yes to every right sample and to no wrong one: 0 % right where it is sure of "no", 100 % where of "yes".
    assert error == 0
    assert [(level, found.value) for level, found in bins if found.count] == [(0.0, 0.0), (1.0, 1.0)]
