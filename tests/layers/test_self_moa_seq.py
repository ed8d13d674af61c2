"""Self-MoA-Seq: the sliding window, the reserved slots, failures, a window that does not fit."""

import pytest

from archon.errors import NodeError
from archon.protocols import Plan, RoleInputs
from layers.self_moa_seq import OWN, SelfMoaSeq
from tests.layers.fakes import FAILURE, FakeContext, run, state, texts


def windows(ctx: FakeContext) -> list[list[str]]:
    return [[each.text for each in draw.inputs.candidates] for draw in ctx.drawn("fuse")]


def fuses(inputs: RoleInputs, sample: int) -> str:
    """A synthesis named after the last draft it has seen."""
    return "S" + inputs.candidates[-1].text[-1]


SCRIPT = {"generate": lambda inputs, sample: f"d{sample - OWN}", "fuse": fuses}


def test_best_synthesis_fills_the_reserved_slots_of_every_later_window() -> None:
    ctx = FakeContext(SCRIPT)
    made = run(SelfMoaSeq(model="m", samples=8, window=4, reserved=2), state(), ctx)
    assert windows(ctx) == [["d0", "d1", "d2", "d3"], ["S3", "S3", "d4", "d5"], ["S5", "S5", "d6", "d7"]]
    assert texts(made) == ["S7"]
    assert made.candidates[0].parents == tuple(f"node#{index}" for index in range(8))


def test_incoming_candidates_come_before_its_own_draws() -> None:
    ctx = FakeContext(SCRIPT)
    made = run(SelfMoaSeq(model="m", samples=2), state("a", "b"), ctx)
    assert windows(ctx) == [["a", "b", "d0", "d1"]]
    assert made.candidates[0].parents == ("earlier#0", "earlier#1", "node#0", "node#1")


@pytest.mark.parametrize("arrived", [0, 1, 5])
def test_its_own_draws_are_the_same_ones_however_many_candidates_arrive(arrived: int) -> None:
    ctx = FakeContext(SCRIPT)
    run(SelfMoaSeq(model="m", samples=2), state(*"abcde"[:arrived]), ctx)
    assert [draw.sample for draw in ctx.drawn("generate")] == [OWN, OWN + 1]


def test_aggregator_fuses_and_model_samples() -> None:
    ctx = FakeContext(SCRIPT)
    run(SelfMoaSeq(model="small", aggregator="large", samples=2), state(), ctx)
    assert [(draw.role, draw.model) for draw in ctx.draws] == [("generate", "small")] * 2 + [("fuse", "large")]


def test_a_failed_window_is_left_out_and_recorded() -> None:
    def failing(inputs: RoleInputs, sample: int) -> str | Exception:
        return FAILURE if inputs.candidates[-1].text == "d2" else fuses(inputs, sample)

    ctx = FakeContext({**SCRIPT, "fuse": failing})
    made = run(SelfMoaSeq(model="m", samples=4, window=2, reserved=1), state(), ctx)
    assert windows(ctx) == [["d0", "d1"], ["S1", "d2"], ["S1", "d3"]]
    assert texts(made) == ["S3"]
    assert ctx.kinds() == {"failed"}


def test_every_window_failing_fails_the_node_with_the_causes() -> None:
    with pytest.raises(NodeError, match=r"no window could be fused.*upstream is down"):
        run(SelfMoaSeq(model="m", samples=8), state(), FakeContext({**SCRIPT, "fuse": FAILURE}))


def test_failed_samples_are_dropped_and_the_quorum_counts_incoming_candidates() -> None:
    ctx = FakeContext({**SCRIPT, "generate": FAILURE})
    assert texts(run(SelfMoaSeq(model="m", samples=2, quorum=2), state("a", "b"), ctx)) == ["Sb"]
    with pytest.raises(NodeError):
        run(SelfMoaSeq(model="m", samples=2, quorum=2), state("a"), FakeContext({**SCRIPT, "generate": FAILURE}))


def long_drafts(room: int, length: int) -> FakeContext:
    """A run of four drafts of `length` characters with room for `room` of them in a window."""
    script = {"generate": lambda _, sample: "abcdef"[sample - OWN] * length, "fuse": lambda *_: "S" * length}
    wide = FakeContext(script)
    run(SelfMoaSeq(model="m", samples=room, window=room, reserved=1), state(), wide)
    limit = sum(len(message.text) for message in wide.drawn("fuse")[0].messages)
    ctx = FakeContext(script, context_chars=limit)
    run(SelfMoaSeq(model="m", samples=4, window=4, reserved=2), state(), ctx)
    return ctx


def test_a_window_that_does_not_fit_gives_up_repeats_first_then_drafts() -> None:
    ctx = long_drafts(room=3, length=300)
    assert [[text[0] for text in window] for window in windows(ctx)] == [["a", "b", "c"], ["S", "S", "d"]]
    ctx = long_drafts(room=2, length=300)
    assert [[text[0] for text in window] for window in windows(ctx)] == [["a", "b"], ["S", "c"], ["S", "d"]]


def test_a_draft_that_fits_no_window_is_an_error() -> None:
    ctx = FakeContext({**SCRIPT, "generate": "x" * 5000}, context_chars=4000)
    with pytest.raises(NodeError, match="'node#0' does not fit"):
        run(SelfMoaSeq(model="m", samples=2), state(), ctx)


def test_reserved_must_leave_room() -> None:
    with pytest.raises(ValueError, match="reserved must be below window, got reserved=3 and window=3"):
        SelfMoaSeq(model="m", window=3)
    with pytest.raises(ValueError, match="quorum"):
        SelfMoaSeq(model="m", quorum=13)


def test_plan_counts_samples_and_windows() -> None:
    # 2 incoming + 8 samples: a window of 6, then 4 more in steps of 3: three windows; at worst one for each of 10.
    assert SelfMoaSeq(model="m", samples=8).plan(2) == Plan(calls=11, candidates=1, contingent=7)
    assert SelfMoaSeq(model="m", samples=6).plan(0) == Plan(calls=7, candidates=1, contingent=5)
    assert SelfMoaSeq(model="m", samples=1).plan(0) == Plan(calls=2, candidates=1)
