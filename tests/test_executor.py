"""Running a graph: concurrency, degradation, books, seeds."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archon import Archon, Budget, Critic, Fuser, Generator, Node, Ranker, Vote
from archon.architecture import Architecture
from archon.clients.cache import CacheStore
from archon.clients.stack import ClientStack
from archon.compose import Part
from archon.context import RunOptions
from archon.errors import BudgetError, ConfigError, RunError
from archon.executor import Result, run
from archon.models import ModelTable
from archon.protocols import Context, Plan, RoleInputs, Traits
from archon.types import Chunk, ModelId, Request, State, Usage, user


def table(**models: dict[str, Any]) -> ModelTable:
    """Fake models by name; `price` and `timeout` are the spec's, everything else the client's."""
    own = ("price", "timeout", "retries", "max_answer_chars", "context")
    rows = []
    for name, given_options in models.items():
        spec = {key: given_options[key] for key in own if key in given_options}
        options = {key: value for key, value in given_options.items() if key not in own}
        rows.append({"id": name, "client": "fake", "options": options, "retries": 0, **spec})
    return ModelTable.from_list(rows)


def go(part: Part, models: ModelTable, cache: CacheStore | None = None, **options: Any) -> Result:
    async def inner() -> Result:
        stack = ClientStack(models, cache=cache)
        try:
            return await run(part.architecture(), [user("what is 2 + 2?")], stack, **options)
        finally:
            await stack.aclose()

    return asyncio.run(inner())


def test_the_first_candidate_of_the_output_is_the_answer() -> None:
    result = go(Generator("m", samples=3) >> Vote(), table(m={"answers": ["answer 5", "answer 4", "answer 4"]}))
    assert result.text == "answer 4"
    assert result.spend.calls == 3


def test_independent_nodes_run_at_once() -> None:
    """Three generators in flight together: the fake client's peak over one shared model is three."""
    from archon.clients.fake import FakeClient

    peaks: list[int] = []

    async def inner() -> None:
        stack = ClientStack(table(m={"latency": 0.02}))
        part = (Generator("m", temperature=0.1) | Generator("m", temperature=0.2) | Generator("m", samples=2)) >> Vote()
        await run(part.architecture(), [user("q")], stack)
        transport = stack._models["m"].transport
        assert isinstance(transport, FakeClient)
        peaks.append(transport.peak)
        await stack.aclose()

    asyncio.run(inner())
    assert peaks == [4]


def test_list_latency_is_the_longest_path_over_recorded_latencies() -> None:
    """Generators of 0.2 and 0.1 s at once, then a fuser of 0.1 s: the slow one and the fuser add up."""
    models = table(slow={"latency": 0.2}, quick={"latency": 0.1})
    result = go((Generator("slow") | Generator("quick")) >> Fuser("quick"), models)
    longest = max(call.usage.seconds for call in result.trace.calls if call.model == "slow")
    fused = next(call.usage.seconds for call in result.trace.calls if call.role == "fuse")
    assert result.list_latency == pytest.approx(longest + fused)


def test_list_cost_is_the_same_with_and_without_cache(tmp_path: Any) -> None:
    models = table(m={"price": {"prompt": 1.0, "completion": 2.0}, "answers": ["answer 4"]})
    part = Generator("m", samples=4) >> Fuser("m")
    fresh = go(part, models)
    first = go(part, models, CacheStore(tmp_path / "calls.sqlite"))
    second = go(part, models, CacheStore(tmp_path / "calls.sqlite"))
    assert fresh.list_usage.cost_usd == first.list_usage.cost_usd == second.list_usage.cost_usd
    assert second.spend.calls == 0
    assert second.trace.cache_hits == second.list_usage.calls == 5


def test_ten_samples_then_five_make_ten_calls(tmp_path: Any) -> None:
    models = table(m={"answers": ["answer 4"]})
    assert go(Generator("m", samples=10) >> Vote(), models, CacheStore(tmp_path / "calls.sqlite")).spend.calls == 10
    assert go(Generator("m", samples=5) >> Vote(), models, CacheStore(tmp_path / "calls.sqlite")).spend.calls == 0


def test_a_common_prefix_is_shared(tmp_path: Any) -> None:
    models = table(m={"answers": ["answer 4"]}, n={"answers": ["answer 4"]})
    go(Generator("m", samples=3) >> Fuser("m"), models, CacheStore(tmp_path / "calls.sqlite"))
    assert go(Generator("m", samples=3) >> Fuser("n"), models, CacheStore(tmp_path / "calls.sqlite")).spend.calls == 1


def test_three_identical_fusers_make_three_different_draws() -> None:
    models = table(m={"answers": ["answer 4"]})
    part = Generator("m") >> (Fuser("m") | Fuser("m") | Fuser("m")) >> Vote()
    samples = sorted(call.sample for call in go(part, models).trace.calls if call.role == "fuse")
    assert samples == [0, 1, 2]


def test_some_failed_draws_are_dropped_and_recorded() -> None:
    models = table(m={"failures": {"server_error": 0.3}, "answers": ["answer 4"]})
    result = go(Generator("m", samples=40) >> Vote(), models)
    failed = len(result.trace.failures)
    assert 0 < failed < 40
    assert len(result.trace.nodes["generator"].candidates) == 40 - failed
    assert all("500" in (call.error or "") for call in result.trace.failures)


@pytest.mark.parametrize(
    ("trouble", "cause"),
    [
        ({"failures": {"hang": 1.0}, "timeout": 0.05}, "timed out|timeout|no answer"),
        ({"failures": {"empty": 1.0}}, "empty"),
        ({"failures": {"huge": 1.0}}, "characters"),
        ({"failures": {"server_error": 1.0}}, "500"),
    ],
)
def test_a_broken_generator_beside_a_sound_one_costs_only_its_own_answers(trouble: dict[str, Any], cause: str) -> None:
    models = table(broken=trouble, sound={"answers": ["answer 4"]})
    result = go((Generator("broken", samples=2) | Generator("sound")) >> Vote(), models)
    assert result.text == "answer 4"
    assert [candidate.model for candidate in result.candidates] == ["sound"]
    assert len(result.trace.failures) == 2
    assert re.search(cause, result.trace.failures[0].error or "")


def test_when_nothing_is_left_the_run_fails_with_every_cause() -> None:
    models = table(a={"failures": {"server_error": 1.0}}, b={"failures": {"auth": 1.0}})
    with pytest.raises(RunError, match=r"500.*401|401.*500") as caught:
        go((Generator("a", samples=2) | Generator("b")) >> Vote(), models)
    assert len(caught.value.trace.failures) == 3  # type: ignore[attr-defined]


def test_quorum_fails_the_node() -> None:
    models = table(m={"failures": {"server_error": 1.0}})
    with pytest.raises(RunError, match="0 of 3 draws from 'm' succeeded, 2 needed"):
        go(Generator("m", samples=3, quorum=2) >> Vote(), models)


def test_a_deadline_ends_the_run_with_what_had_failed() -> None:
    models = table(m={"failures": {"hang": 1.0}})
    with pytest.raises(RunError, match=r"deadline of 0\.05 s"):
        go(Generator("m") >> Vote(), models, deadline=0.05)


def test_a_refusal_by_the_budget_ends_the_run() -> None:
    with pytest.raises(BudgetError, match="2 calls"):
        go(Generator("m", samples=5) >> Vote(), table(m={"latency": 0.0}), budget=Budget(calls=2))


def test_an_empty_conversation_is_refused_before_any_call() -> None:
    async def inner() -> None:
        await run((Generator("m")).architecture(), [], ClientStack(table(m={})))

    with pytest.raises(ConfigError, match="at least one message"):
        asyncio.run(inner())


@dataclass(frozen=True, slots=True, kw_only=True)
class Buggy:
    """A third party's layer with a bug."""

    traits: ClassVar[Traits] = Traits(kind="fuser", models=())

    def plan(self, incoming: int) -> Plan:
        return Plan(0, incoming)

    async def run(self, state: State, ctx: Context) -> State:
        raise KeyError("oops")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropping(Buggy):
    """A layer that leaves nothing."""

    async def run(self, state: State, ctx: Context) -> State:
        return state.with_candidates([])


@pytest.mark.parametrize(("name", "said"), [("Buggy", "raised KeyError"), ("Dropping", "no candidate is left")])
def test_a_third_partys_layer_by_dotted_path_fails_its_node_alone(name: str, said: str) -> None:
    models = table(m={"answers": ["answer 4"]})
    draft = Generator("m")
    other = draft >> Node(f"{__name__}:{name}")
    with pytest.raises(RunError, match=said):
        go(other, models)
    assert go((other | draft >> Fuser("m")) >> Vote(), models).text == "answer 4"


def test_the_last_nodes_single_call_streams() -> None:
    pieces: list[str] = []

    def sink(chunk: Chunk) -> None:
        pieces.append(chunk.text)

    result = go(Generator("m") >> Fuser("m"), table(m={"answers": ["a long enough answer"]}), sink=sink)
    assert len(pieces) > 2
    assert "".join(pieces) == result.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriting:
    """A third party's layer that writes every candidate anew, one after the other."""

    traits: ClassVar[Traits] = Traits(kind="fuser")
    model: ModelId

    def plan(self, incoming: int) -> Plan:
        return Plan(incoming, incoming)

    async def run(self, state: State, ctx: Context) -> State:
        made = []
        for index, each in enumerate(state.candidates):
            (written,) = await ctx.draw(self.model, "fuse", RoleInputs(state.conversation, (each,), template="again"))
            made.append(ctx.candidate(written, index, [each]))
        return state.with_candidates(made)


@pytest.mark.parametrize(("samples", "streams"), [(1, True), (2, False)])
def test_whether_the_last_node_makes_one_call_is_a_matter_of_its_candidates_and_not_of_its_inputs(
    samples: int, streams: bool
) -> None:
    pieces: list[str] = []
    part = Generator("m", samples=samples) >> Node(f"{__name__}:Rewriting", "m")
    result = go(part, table(m={"answers": ["an answer"]}), sink=lambda chunk: pieces.append(chunk.text))
    assert "".join(pieces) == (result.text if streams else "")


def test_cancelling_the_caller_cancels_the_calls() -> None:
    async def inner() -> int:
        stack = ClientStack(table(m={"failures": {"hang": 1.0}}))
        task = asyncio.create_task(run((Generator("m", samples=3) >> Vote()).architecture(), [user("q")], stack))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        in_flight: int = stack._models["m"].transport.in_flight  # type: ignore[attr-defined]
        await stack.aclose()
        return in_flight

    assert asyncio.run(inner()) == 0


def _traced(part: Part, models: ModelTable, seed: int) -> dict[str, Any]:
    result = go(part, models, seed=seed)
    calls = result.trace.to_dict()["calls"]
    for call in calls:
        call["usage"].pop("seconds")
    return {"text": result.text, "calls": calls}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 5), st.integers(1, 4))
def test_draws_depend_on_the_seed_and_never_on_arrival(seed: int, samples: int) -> None:
    """Two runs with latencies drawn at random arrive in other orders and still make the same draws."""
    options = {"seeded": True, "latency": [0.0, 0.004]}
    drafts = Generator("a", samples=samples) | Generator("b", samples=2)
    part = drafts >> Critic("a") >> Ranker("b", keep=2) >> Fuser("a")
    assert _traced(part, table(a=options, b=options), seed) == _traced(part, table(a=options, b=options), seed)


def test_equal_hashes_make_equal_draws() -> None:
    models = table(a={"seeded": True}, b={"seeded": True})
    one = (Generator("a", samples=1) | Generator("b") | Generator("a", samples=2)) >> Fuser("b")
    two = (Generator("b") | Generator("a", samples=3)) >> Fuser("b")
    assert one.architecture().hash == two.architecture().hash
    assert go(one, models).text == go(two, models).text


def test_500_concurrent_runs_lose_nothing() -> None:
    async def inner() -> list[Result]:
        stack = ClientStack(table(m={"latency": [0.0, 0.01]}))
        system = (Generator("m", samples=3) >> Critic("m") >> Ranker("m", keep=2) >> Fuser("m")).architecture()
        runs = [run(system, [user(f"question {i}")], stack) for i in range(500)]
        try:
            return await asyncio.gather(*runs)
        finally:
            await stack.aclose()

    results = asyncio.run(inner())
    assert len(results) == 500
    assert all(len(result.trace.nodes["generator"].candidates) == 3 for result in results)


def test_the_trace_is_plain_data(tmp_path: Any) -> None:
    import json

    result = go(Generator("m", samples=2) >> Vote(), table(m={"answers": ["answer 4"]}))
    plain = json.loads(json.dumps(result.trace.to_dict()))
    assert [node["id"] for node in plain["nodes"]] == ["generator", "vote"]
    assert plain["nodes"][1]["candidates"][0]["text"] == "answer 4"


def test_architectures_load_into_the_executor() -> None:
    raw = {"nodes": [{"id": "g", "layer": "generator", "model": "m"}], "output": "g"}
    system = Archon(Architecture.from_dict(raw), models=table(m={"answers": ["answer 7"]}))
    assert system.run("q").text == "answer 7"


def test_a_judges_words_are_never_streamed_as_the_answer() -> None:
    """The evaluator ends the system with a single call, whose text is a judgement and not the answer."""
    from archon import UnitTestEvaluator, UnitTestGenerator

    tests, verdict = "TESTS:\n1. It is right.", "1: PASS"
    models = table(g={"answers": ["the answer"]}, t={"answers": [tests]}, j={"answers": [verdict]})
    pieces: list[str] = []
    part = Generator("g") >> UnitTestGenerator("t") >> UnitTestEvaluator("j")
    assert go(part, models, sink=lambda chunk: pieces.append(chunk.text)).text == "the answer"
    assert pieces == []


def test_the_fusions_of_chunks_are_not_streamed_with_the_answer() -> None:
    models = table(g={"answers": [letter * 1200 for letter in "abcd"]}, f={"answers": {"": "fused"}, "context": 900})
    pieces: list[str] = []
    part = Generator("g", samples=4) >> Fuser("f", max_tokens=50)
    result = go(part, models, sink=lambda chunk: pieces.append(chunk.text))
    assert sum(call.node == "fuser" for call in result.trace.calls) > 1
    assert "".join(pieces) == result.text == "fused"


def in_form(request: Request) -> str:
    """What it answers tells whether a form was asked for."""
    return "{}" if request.response_format else "fused"


def test_the_fusions_of_chunks_are_not_asked_for_the_answers_form() -> None:
    models = table(
        g={"answers": [letter * 1200 for letter in "abcd"]}, f={"answers": f"{__name__}:in_form", "context": 900}
    )
    options = RunOptions(response_format={"type": "json_object"})
    result = go(Generator("g", samples=4) >> Fuser("f", max_tokens=50), models, options=options)
    *chunks, last = [call.text for call in result.trace.calls if call.node == "fuser"]
    assert result.text == last == "{}"
    assert set(chunks) == {"fused"}


def test_an_unusable_answer_from_the_cache_is_not_spent_again(tmp_path: Any) -> None:
    models = table(m={"answers": ["4"]}, e={"failures": {"empty": 1.0}})
    part = (Generator("m") | Generator("e")) >> Vote()
    first = go(part, models, CacheStore(tmp_path / "c.sqlite"))
    again = go(part, models, CacheStore(tmp_path / "c.sqlite"))
    assert (first.spend.calls, again.spend.calls) == (2, 0)
    assert first.list_usage.calls == again.list_usage.calls == 2


def test_a_repair_that_fails_is_a_fallback_and_not_a_failed_run() -> None:
    """The repair repeats the first prompt and the answer, so it may not fit where the first call did."""
    models = table(g={"answers": ["1", "2"]}, r={"answers": ["no ranking at all " * 30], "context": 560})
    result = go(Generator("g", samples=2) >> Ranker("r", max_tokens=200) >> Vote(), models)
    assert result.text == "1"
    assert [note.kind for note in result.trace.notes if note.node == "ranker"] == ["repair", "unparseable", "fallback"]
    assert any("the repair failed" in note.message for note in result.trace.notes)


def test_a_prompt_that_does_not_fit_is_a_call_in_the_trace() -> None:
    with pytest.raises(RunError, match="context") as failed:
        go(Generator("m", max_tokens=50), table(m={"answers": ["4"], "context": 20}))
    (call,) = failed.value.trace.calls  # type: ignore[attr-defined]
    assert (call.node, call.role, call.usage) == ("generator", "generate", Usage())
    assert "its context holds 20" in (call.error or "")


def broken_at_first(request: Request) -> str:
    """A client's bug that one draw in three meets."""
    if request.sample == 0:
        raise ValueError("a bug")
    return "the answer is 4"


def test_a_clients_bug_costs_its_draw_and_not_the_others() -> None:
    result = go(Generator("m", samples=3) >> Vote(), table(m={"answers": f"{__name__}:broken_at_first"}))
    assert result.text == "the answer is 4"
    assert [call.error for call in result.trace.failures] == ["model 'm': its client raised ValueError: a bug"]
