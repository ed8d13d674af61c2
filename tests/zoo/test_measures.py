"""The measures: a model that is always right scores 100 %, one that is always wrong 0 %, and intervals are Wilson's."""

import random
from collections.abc import Callable, Sequence

import pytest

from archon.zoo import measures
from archon.zoo.desk import Attempt
from archon.zoo.evaluate import measure, table, together
from archon.zoo.generate import Prompt, Speaker
from archon.zoo.ledger import LedgerProblem, ledger_problems
from archon.zoo.ledger_desk import LedgerDesk, answer_of, critique_of, passes
from archon.zoo.measures import Share
from archon.zoo.mistakes import wrong_solution

PROBLEMS = ledger_problems(4, 30, split="search")


class Scripted(Speaker):
    """Samples half right and half wrong solutions; plays every other role perfectly, or perfectly wrongly."""

    def __init__(self, *, right: bool) -> None:
        self.right, self.rng = right, random.Random(0)
        self.problems = {problem.question: problem for problem in PROBLEMS}
        self.verified: list[bool] = []

    def say(
        self, prompts: Sequence[Prompt], *, temperature: float = 0.0, seed: int = 0, most: int = 400, batch: int = 128
    ) -> list[str]:
        return [self._one(role, list(parts), temperature) for role, parts in prompts]

    def _one(self, role: str, parts: list[str], temperature: float) -> str:
        if role == "verdict":
            # Asked about bare answers, in the order in which the candidates were reasoned about.
            return "yes" if self.verified.pop(0) == self.right else "no"
        problem = self.problems[parts[0]]
        labelled = list(zip(parts[1::2], parts[2::2], strict=True))
        texts = [text for label, text in labelled if label == "candidate"]
        tests = [text for label, text in labelled if label == "test"]
        good = [answer_of(text) == str(problem.answer) for text in texts]
        if temperature:
            return problem.solution if self.rng.random() < 0.5 else wrong_solution(self.rng, problem.steps)
        self.verified += good if role == "verify" else []
        solution = problem.solution if self.right else wrong_solution(self.rng, problem.steps)
        plays: dict[str, Callable[[], str]] = {
            "solve": lambda: solution,
            "fuse": lambda: solution,
            "verify": lambda: solution,
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
    found = measure(speaker, measures.sampled(speaker, PROBLEMS))
    assert {name: found[name][0] for name in JUDGED} == dict.fromkeys(JUDGED, value)
    # The samples were drawn half right, so neither measure of them can be at an end of the scale.
    assert 0 < found["sampled"][0] < 1
    assert 0 < found["rank chance"] < 1


def test_the_table_has_a_row_for_every_figure() -> None:
    speaker = Scripted(right=True)
    found = measure(speaker, measures.sampled(speaker, PROBLEMS))
    rows = table({"one": found}, len(PROBLEMS)).split("\n")
    assert len(rows) == len(found) + 2
    # 30 of 30: Wilson's lower bound is n / (n + z²) = 30 / 33.84 = 0.887.
    assert rows[2] == "| solve, greedy | 100.0% (88.6–100.0) |" or rows[2] == "| solve, greedy | 100.0% (88.7–100.0) |"


def test_wilson_interval_of_a_known_case() -> None:
    # 8 of 10 and z = 1.96: centre (0.8 + 0.19208) / 1.38415 = 0.71675,
    # half width 1.96·√(0.016 + 0.0096036) / 1.38415 = 0.22658
    low, high = Share(8, 10).interval
    assert low == pytest.approx(0.4902, abs=2e-4)
    assert high == pytest.approx(0.9433, abs=2e-4)


def test_a_vote_takes_the_most_frequent_answer() -> None:
    problem = LedgerProblem("q", ("1 + 1 = 2",), 2, "stock")
    texts = [["answer 2", "answer 3", "answer 2"], ["answer 3", "answer 3", "answer 2"]]
    assert measures.voted(measures.Pool([problem, problem], texts)) == [True, False]


def test_models_vote_together() -> None:
    problem = LedgerProblem("q", ("1 + 1 = 2",), 2, "stock")
    pools = [measures.Pool([problem], [["answer 2", "answer 3"]]), measures.Pool([problem], [["answer 2"]])]
    assert "100.0%" in together(pools)
    assert "0.0%" in together([pools[0], measures.Pool([problem], [["answer 3"]])])
