"""Ranker: listwise and pairwise order, scores, fallbacks, more candidates than fit."""

from dataclasses import replace

import pytest

from archon.errors import NodeError
from archon.protocols import Plan, RoleInputs
from layers.ranker import Ranker
from tests.layers.fakes import FAILURE, FakeContext, candidate, run, state, texts


def by_letter(inputs: RoleInputs, sample: int) -> str:
    """A ranking that holds later letters for better."""
    order = sorted(range(len(inputs.candidates)), key=lambda i: inputs.candidates[i].text, reverse=True)
    return "RANKING: " + " > ".join(str(i + 1) for i in order)


def prefers_later(inputs: RoleInputs, sample: int) -> str:
    first, second = (each.text for each in inputs.candidates)
    return f"PREFERRED: {'A' if first > second else 'B'}"


def room_for(count: int, length: int) -> int:
    """Prompt characters into which `count` candidates of `length` characters fit, and no more."""
    ctx = FakeContext({"*": "RANKING: 1"})
    run(Ranker(model="m"), state(*("xyzuvw"[i] * length for i in range(count))), ctx)
    return sum(len(message.text) for message in ctx.draws[0].messages)


def test_listwise_orders_scores_and_keeps_the_best() -> None:
    ctx = FakeContext({"rank": by_letter})
    made = run(Ranker(model="m", keep=2), state("b", "c", "a"), ctx)
    assert texts(made) == ["c", "b"]
    assert [each.score for each in made.candidates] == [1.0, pytest.approx(2 / 3)]  # (3 - 0) / 3, (3 - 1) / 3
    assert len(ctx.draws) == 1
    assert ctx.draws[0].inputs.count == 2


def test_left_out_candidates_follow_as_given_and_that_is_recorded_where_it_matters() -> None:
    ctx = FakeContext({"rank": "RANKING: 3 > 2"})
    assert texts(run(Ranker(model="m"), state("a", "b", "c", "d"), ctx)) == ["c", "b", "a", "d"]
    assert ctx.kinds() == {"incomplete"}
    ctx = FakeContext({"rank": "RANKING: 3 > 2"})
    assert texts(run(Ranker(model="m", keep=2), state("a", "b", "c", "d"), ctx)) == ["c", "b"]
    assert not ctx.notes


def test_unparseable_ranking_keeps_the_given_order_and_scores_and_says_so() -> None:
    ctx = FakeContext({"rank": "They are all fine.", "repair": "Really."})
    given = state("b", "c", "a")
    given = given.with_candidates([replace(each, score=0.25) for each in given.candidates])
    assert run(Ranker(model="m", keep=2), given, ctx).candidates == given.candidates[:2]
    assert "fallback" in ctx.kinds()
    assert [draw.role for draw in ctx.draws] == ["rank", "repair"]


def test_repaired_ranking_counts() -> None:
    ctx = FakeContext({"rank": "RANKING: 1 > 1", "repair": "RANKING: 2 > 1"})
    assert texts(run(Ranker(model="m"), state("a", "b"), ctx)) == ["b", "a"]


def test_fewer_than_two_candidates_need_no_call() -> None:
    for given in (state(), state("a")):
        ctx = FakeContext()
        assert run(Ranker(model="m"), given, ctx) == given
        assert ctx.kinds() == {"trivial"}


def test_failed_ranking_call_fails_the_node_with_its_cause() -> None:
    with pytest.raises(NodeError, match=r"no ranking succeeded.*upstream is down"):
        run(Ranker(model="m"), state("a", "b"), FakeContext({"rank": FAILURE}))


@pytest.mark.parametrize("method", ["listwise", "pairwise"])
def test_critiques_are_shown_unless_switched_off_and_stay_on_the_candidates(method: str) -> None:
    given = state().with_candidates([candidate("a", critique="too short"), candidate("b")])
    for shown in (True, False):
        ctx = FakeContext({"rank": by_letter, "compare": prefers_later})
        made = run(Ranker(model="m", method=method, use_critiques=shown), given, ctx)  # type: ignore[arg-type]
        assert all(("too short" in draw.messages[-1].text) is shown for draw in ctx.draws)
        assert made.candidates[1].critique == "too short"


def test_chunks_send_their_better_half_on_and_put_the_others_behind() -> None:
    ctx = FakeContext({"rank": by_letter}, context_chars=room_for(2, 300))
    made = run(Ranker(model="m"), state(*(letter * 300 for letter in "dacb")), ctx)
    # Round 1: (d a) (c b): d and c go on, a and b stand behind in this order; round 2: (d c).
    assert [text[0] for text in texts(made)] == ["d", "c", "a", "b"]
    assert [each.score for each in made.candidates] == [1.0, 0.75, 0.5, 0.25]
    assert ctx.kinds() == {"chunked"}
    assert len(ctx.draws) == 3 <= Ranker(model="m").plan(4).calls + Ranker(model="m").plan(4).contingent


def test_odd_chunk_needs_no_call_and_goes_on() -> None:
    ctx = FakeContext({"rank": by_letter}, context_chars=room_for(2, 300))
    made = run(Ranker(model="m"), state(*(letter * 300 for letter in "abc")), ctx)
    # Round 1: (a b) → b on, a behind; c on alone. Round 2: (b c).
    assert [text[0] for text in texts(made)] == ["c", "b", "a"]
    assert len(ctx.draws) == 2


def test_a_chunk_whose_ranking_fails_keeps_its_order() -> None:
    def script(inputs: RoleInputs, sample: int) -> str | Exception:
        return FAILURE if inputs.candidates[0].text[0] == "a" else by_letter(inputs, sample)

    ctx = FakeContext({"rank": script}, context_chars=room_for(2, 300))
    made = run(Ranker(model="m"), state(*(letter * 300 for letter in "cdab")), ctx)
    # Round 1: (c d) → d on, c behind; (a b) fails: a on, b behind. Round 2: (d a).
    assert [text[0] for text in texts(made)] == ["d", "a", "c", "b"]
    assert ctx.kinds() == {"chunked", "failed"}
    assert all(each.score is None for each in made.candidates)


def test_equal_chunks_are_different_draws() -> None:
    ctx = FakeContext({"rank": "RANKING: 1 > 2"}, context_chars=room_for(2, 300))
    run(Ranker(model="m"), state(*["a" * 300] * 4), ctx)
    assert len({draw.name for draw in ctx.draws}) == len(ctx.draws) == 3


@pytest.mark.parametrize("method", ["listwise", "pairwise"])
def test_candidates_that_do_not_fit_are_an_error(method: str) -> None:
    ctx = FakeContext(context_chars=room_for(2, 300) if method == "listwise" else 900)
    with pytest.raises(NodeError, match="fit the context of 'm'"):
        run(Ranker(model="m", method=method), state("a" * 400, "b" * 400), ctx)  # type: ignore[arg-type]
    assert not ctx.draws


def test_pairwise_asks_both_orders_of_each_pair_and_orders_by_strength() -> None:
    ctx = FakeContext({"compare": prefers_later})
    made = run(Ranker(model="m", method="pairwise", keep=2), state("b", "c", "a"), ctx)
    assert texts(made) == ["c", "b"]
    asked = {tuple(each.text for each in draw.inputs.candidates) for draw in ctx.draws}
    assert asked == {("a", "b"), ("b", "a"), ("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")}
    # c beat all, b one of two, a none: chances of beating an average opponent above, at and below one half.
    best, middle = (each.score for each in made.candidates)
    assert best is not None
    assert best > 0.5
    assert middle == pytest.approx(0.5)


def test_a_liking_for_the_first_place_cancels_out() -> None:
    ctx = FakeContext({"compare": "PREFERRED: A"})
    made = run(Ranker(model="m", method="pairwise"), state("b", "c", "a"), ctx)
    assert texts(made) == ["b", "c", "a"]
    assert [each.score for each in made.candidates] == pytest.approx([0.5] * 3)


def test_a_cycle_of_preferences_keeps_the_given_order() -> None:
    beats = {("rock", "scissors"), ("scissors", "paper"), ("paper", "rock")}

    def script(inputs: RoleInputs, sample: int) -> str:
        return f"PREFERRED: {'A' if tuple(each.text for each in inputs.candidates) in beats else 'B'}"

    made = run(
        Ranker(model="m", method="pairwise"), state("paper", "rock", "scissors"), FakeContext({"compare": script})
    )
    assert texts(made) == ["paper", "rock", "scissors"]


def test_equal_candidates_tie_without_a_call() -> None:
    ctx = FakeContext({"compare": prefers_later})
    made = run(Ranker(model="m", method="pairwise"), state("a", "b", "a"), ctx)
    assert texts(made) == ["b", "a", "a"]
    assert len(ctx.draws) == 4  # each a against b, in both orders
    assert len({draw.name for draw in ctx.draws}) == 4
    ctx = FakeContext()
    assert texts(run(Ranker(model="m", method="pairwise"), state("a", "a"), ctx)) == ["a", "a"]
    assert not ctx.draws


def test_comparisons_that_fail_or_cannot_be_parsed_are_left_out() -> None:
    def script(inputs: RoleInputs, sample: int) -> str | Exception:
        pair = "".join(each.text for each in inputs.candidates)
        odd: dict[str, str | Exception] = {"ab": FAILURE, "ac": "both are fine"}
        return odd.get(pair) or prefers_later(inputs, sample)

    ctx = FakeContext({"compare": script, "repair": "as I said"})
    assert texts(run(Ranker(model="m", method="pairwise"), state("a", "b", "c"), ctx)) == ["c", "b", "a"]
    assert ctx.kinds() == {"failed", "repair", "unparseable"}


def test_no_readable_comparison_keeps_the_given_order_and_says_so() -> None:
    ctx = FakeContext({"*": "hm"})
    given = state("a", "b")
    assert run(Ranker(model="m", method="pairwise"), given, ctx) == given
    assert "fallback" in ctx.kinds()


def test_no_comparison_at_all_fails_the_node() -> None:
    with pytest.raises(NodeError, match="no comparison succeeded"):
        run(Ranker(model="m", method="pairwise"), state("a", "b"), FakeContext({"compare": FAILURE}))


def test_plan() -> None:
    assert Ranker(model="m", keep=5).plan(8) == Plan(calls=1, candidates=5, contingent=13)  # 7 rankings, 7 repairs
    assert Ranker(model="m", keep=5).plan(1) == Plan(calls=0, candidates=1)
    assert Ranker(model="m", method="pairwise").plan(3) == Plan(calls=6, candidates=3, contingent=6)


def test_losers_of_a_later_round_stand_before_those_of_an_earlier_one() -> None:
    ctx = FakeContext({"rank": by_letter}, context_chars=room_for(2, 300))
    made = run(Ranker(model="m"), state(*(letter * 300 for letter in "hgfedcba")), ctx)
    # Round 1: (h g) (f e) (d c) (b a); round 2: (h f) (d b); round 3: (h d).
    assert "".join(text[0] for text in texts(made)) == "hd" + "fb" + "geca"
