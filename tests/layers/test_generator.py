"""Generator: draws, order, failures, the conversation kept whole."""

import pytest

from archon.errors import NodeError
from archon.protocols import Plan
from archon.types import Message, Sampling, State, system, user
from layers.generator import Generator
from tests.layers.fakes import FAILURE, FakeContext, run, state, texts


def test_samples_are_candidates_in_sample_order() -> None:
    ctx = FakeContext({"generate": lambda inputs, sample: f"draft {sample}"})
    made = run(Generator(model="m", samples=3), state(), ctx)
    assert texts(made) == ["draft 0", "draft 1", "draft 2"]
    assert [each.id for each in made.candidates] == ["node#0", "node#1", "node#2"]


def test_failed_draws_are_dropped_until_the_quorum_is_missed() -> None:
    script = {"generate": lambda inputs, sample: FAILURE if sample == 1 else f"draft {sample}"}
    made = run(Generator(model="m", samples=3, quorum=2), state(), FakeContext(script))
    assert texts(made) == ["draft 0", "draft 2"]
    with pytest.raises(NodeError, match="upstream is down"):
        run(Generator(model="m", samples=3, quorum=3), state(), FakeContext(script))


def test_only_settings_that_were_set_are_sent() -> None:
    ctx = FakeContext({"generate": "draft"})
    run(Generator(model="m", temperature=None, top_p=0.9), state(), ctx)
    assert ctx.draws[0].sampling == Sampling(top_p=0.9)


def test_conversation_reaches_the_model_whole() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    conversation = (
        system("Be kind."),
        Message("user", ({"type": "text", "text": "What is this?"}, image)),
        Message("assistant", None, tool_calls=({"id": "1", "function": {"name": "look", "arguments": "{}"}},)),
        Message("tool", "a cat", tool_call_id="1"),
    )
    ctx = FakeContext({"generate": "a cat"})
    run(Generator(model="m"), State(conversation), ctx)
    assert ctx.draws[0].messages == conversation


def test_no_system_leaves_system_messages_out() -> None:
    ctx = FakeContext({"generate": "draft"})
    run(Generator(model="m", no_system=True), State((system("Be kind."), user("Hello"))), ctx)
    assert ctx.draws[0].messages == (user("Hello"),)


def test_prompt_becomes_a_system_message_before_the_conversation() -> None:
    ctx = FakeContext({"generate": "draft"})
    run(Generator(model="m", prompt="Answer in one word."), state(), ctx)
    assert ctx.draws[0].messages == (system("Answer in one word."), user("What is 2 + 3?"))


def test_incoming_candidates_are_replaced() -> None:
    assert texts(run(Generator(model="m"), state("old"), FakeContext({"generate": "new"}))) == ["new"]


def test_plan_is_one_call_a_sample() -> None:
    assert Generator(model="m", samples=4).plan(9) == Plan(calls=4, candidates=4)


def test_quorum_above_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="quorum must be at most samples, got quorum=3 and samples=2"):
        Generator(model="m", samples=2, quorum=3)
