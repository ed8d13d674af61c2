"""Vote: majority, ties, abstention, the recorded fallback."""

from archon.protocols import Plan
from layers.vote import Vote
from tests.layers.fakes import FakeContext, run, state, texts


def test_first_candidate_of_the_majority_wins_with_its_share() -> None:
    ctx = FakeContext()
    made = run(Vote(), state("answer 4", "so answer 5", "answer 5", "answer 5"), ctx)
    assert texts(made) == ["so answer 5"]
    assert made.candidates[0].score == 0.75  # three of four votes
    assert not ctx.draws
    assert not ctx.notes


def test_equal_answers_are_counted_after_extraction_not_by_text() -> None:
    assert texts(run(Vote(), state("answer 4", "x answer 5", "y answer 5"), FakeContext())) == ["x answer 5"]


def test_tie_goes_to_the_answer_seen_first() -> None:
    assert texts(run(Vote(), state("answer 4", "answer 5", "answer 5", "answer 4"), FakeContext())) == ["answer 4"]


def test_candidates_without_an_answer_do_not_vote() -> None:
    ctx = FakeContext()
    made = run(Vote(), state("?", "?", "answer 5"), ctx)
    assert texts(made) == ["answer 5"]
    assert made.candidates[0].score == 1.0
    assert ctx.kinds() == {"abstained"}


def test_no_extractable_answer_keeps_the_first_and_says_so() -> None:
    ctx = FakeContext()
    given = state("one", "two")
    assert run(Vote(), given, ctx).candidates == given.candidates[:1]
    assert ctx.kinds() == {"fallback"}


def test_nothing_to_vote_on_stays_nothing() -> None:
    ctx = FakeContext()
    assert run(Vote(), state(), ctx) == state()
    assert ctx.kinds() == {"empty"}


def test_plan_has_no_call() -> None:
    assert Vote().plan(7) == Plan(calls=0, candidates=1)
    assert Vote().plan(0) == Plan(calls=0, candidates=0)
