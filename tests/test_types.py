"""The values: derivations only."""

from __future__ import annotations

import math
import random
from dataclasses import asdict, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.types import (
    Candidate,
    Message,
    Price,
    Question,
    Request,
    Sampling,
    State,
    TestResult,
    UnitTest,
    Usage,
    assistant,
    canonical_json,
    derived_seed,
    stable_hash,
    system,
    user,
)

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


def test_a_message_survives_the_wire_whole() -> None:
    raw = {
        "role": "assistant",
        "content": [{"type": "text", "text": "a"}, IMAGE, {"type": "text", "text": "b"}],
        "name": "n",
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        "tool_call_id": "x",
        "reasoning": "kept",
    }
    message = Message.from_dict(raw)
    assert message.to_dict() == raw
    assert message.text == "a\nb"


def test_a_tool_call_alone_has_null_content_and_no_text() -> None:
    message = Message.from_dict({"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]})
    assert message.to_dict()["content"] is None
    assert message.text == ""


def test_short_hands() -> None:
    assert [m.role for m in (system("s"), user("u"), assistant("a"))] == ["system", "user", "assistant"]


def test_only_what_was_set_is_sent() -> None:
    request = Request((user("q"),), Sampling(temperature=0.0, stop=("x",), extra={"min_p": 0.1}, seed=3))
    assert request.body() == {
        "messages": [{"role": "user", "content": "q"}],
        "temperature": 0.0,
        "stop": ["x"],
        "min_p": 0.1,
    }


def test_sampling_over_keeps_own_settings() -> None:
    own, base = Sampling(temperature=0.0), Sampling(temperature=1.0, max_tokens=5, stop=("a",), extra={"x": 1})
    assert own.over(base) == Sampling(temperature=0.0, max_tokens=5, stop=("a",), extra={"x": 1})


def test_the_canonical_request_knows_neither_sample_nor_seed() -> None:
    one = Request((user("q"),), Sampling(temperature=1.0), sample=0, seed=1)
    two = Request((user("q"),), Sampling(temperature=1.0), sample=5, seed=2)
    assert one.canonical() == two.canonical()


def test_a_draw_is_its_request_with_a_place_and_a_seed() -> None:
    given = Request((user("q"),), Sampling(top_p=0.5), ({"type": "function"},), "auto", {"type": "json_object"})
    assert given.drawn(3, 7) == replace(given, sample=3, seed=7)


def test_tools_and_formats_are_part_of_the_request() -> None:
    request = Request((user("q"),), tools=({"type": "function"},), tool_choice="auto", response_format={"type": "json"})
    assert {"tools", "tool_choice", "response_format"} <= set(request.body())


def test_an_unknown_cost_makes_the_sum_unknown() -> None:
    known, unknown = Usage(1, 10, 5, 2, 0.5, 1.0), Usage(1, 1, 1, 0, None, 1.0)
    assert (known + known) == Usage(2, 20, 10, 4, 1.0, 2.0)
    assert (known + unknown).cost_usd is None
    assert Usage.total([known, unknown]).cost_usd is None
    assert Usage.total([]).cost_usd == 0.0
    assert known.tokens == 15


@given(st.lists(st.floats(0, 1e6), max_size=30), st.integers(0, 1000))
def test_totals_do_not_depend_on_the_order(costs: list[float], seed: int) -> None:
    usages = [Usage(1, cost_usd=cost, seconds=cost / 3) for cost in costs]
    shuffled = random.Random(seed).sample(usages, len(usages))
    assert Usage.total(usages) == Usage.total(shuffled)
    assert Usage.total(usages).cost_usd == math.fsum(costs)


def _candidate(name: str, **more: object) -> Candidate:
    return Candidate(name, assistant(name), "m", "n", **more)  # type: ignore[arg-type]


def test_one_candidate_reached_by_two_paths_stays_one() -> None:
    test = UnitTest("t")
    left = State((user("q"),), (_candidate("a", critique="good"), _candidate("b")), (test,))
    right = State(
        (user("q"),), (_candidate("b", score=2.0), _candidate("a", score=1.0, tests=(TestResult(test, True),))), (test,)
    )
    merged = State.merged([left, right])
    assert [c.id for c in merged.candidates] == ["a", "b"]
    assert merged.candidates[0].critique == "good"
    assert merged.candidates[0].score == 1.0
    assert merged.candidates[0].tests == (TestResult(test, True),)
    assert merged.candidates[1].score == 2.0
    assert merged.tests == (test,)


def test_the_first_paths_annotations_win() -> None:
    first, second = _candidate("a", score=1.0), _candidate("a", score=2.0)
    assert first.united(second) is not second
    assert first.united(second).score == 1.0


def test_prices_are_per_million_tokens() -> None:
    """2 M prompt tokens at 0.5 and 1 M answer tokens at 2 USD: 1 + 2 = 3 USD."""
    assert Price(0.5, 2.0).cost(2_000_000, 1_000_000) == pytest.approx(3.0)


def test_a_questions_text_is_its_last_message() -> None:
    assert Question("1", (user("first"), assistant("x"), user("last"))).text == "last"


def test_canonical_json_sorts_and_refuses_nan() -> None:
    assert canonical_json({"b": 1, "a": "ü"}) == '{"a":"ü","b":1}'
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


def test_hashes_and_seeds_are_fixed_for_ever() -> None:
    """Recorded runs depend on these: SHA-256 of canonical JSON, cut."""
    assert stable_hash({}) == "44136fa355b3678a"
    assert 0 <= derived_seed(0, "m", None) < 2**63
    assert derived_seed(0, "m") != derived_seed(1, "m")


def test_half_a_surrogate_pair_can_be_hashed() -> None:
    """JSON from a provider may be cut inside an emoji; the draws that show such an answer still need their seeds."""
    assert stable_hash("\ud83d") != stable_hash("\ud83e")


def test_a_total_has_every_field() -> None:
    one = Usage(*(2 ** (place + 1) for place in range(len(fields(Usage)))))
    assert Usage.total([one, one]) == one + one
    assert Usage.total([one]) == one
    assert Usage.total([]) == Usage()
    assert one.to_dict() == asdict(one)
