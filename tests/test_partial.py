"""Bounds that end a run early leave the best candidate there is; settings of the answer reach its writers alone."""

from __future__ import annotations

import asyncio

import pytest

from archon import Budget, Fuser, Generator, Ranker, Vote
from archon.clients.stack import ClientStack
from archon.context import RunOptions
from archon.errors import BudgetError, RunError
from archon.executor import Result, run
from archon.graph import check, writers
from archon.trace import NodeRecord
from archon.types import Sampling, user
from tests.servers import CountingServer, Reply
from tests.test_executor import go, table


def test_a_refused_draw_leaves_the_others_and_their_majority_is_the_answer() -> None:
    """Four calls of five are allowed: answers 5, 4, 4, 6 have come, and the ranker behind is refused."""
    models = table(m={"answers": ["answer 5", "answer 4", "answer 4", "answer 6", "answer 7"]})
    part = Generator("m", samples=5) >> Ranker("m", keep=1)
    result = go(part, models, budget=Budget(calls=4), partial=True)
    assert result.text == "answer 4"
    assert result.stopped is not None
    assert "calls" in result.stopped
    assert result.spend.calls == 4


def test_without_partial_the_refusal_is_an_error() -> None:
    with pytest.raises(BudgetError):
        go(Generator("m", samples=5) >> Vote(), table(m={}), budget=Budget(calls=4))


def test_with_nothing_drawn_the_refusal_is_an_error() -> None:
    with pytest.raises(BudgetError, match="calls"):
        go(Generator("m", samples=2) >> Vote(), table(m={}), budget=Budget(calls=0), partial=True)


def test_the_deadline_leaves_the_last_stage_that_has_something() -> None:
    """The ranker is done (second candidate first), the slow fuser is not."""
    models = table(m={"answers": {"Rank 3": "RANKING: 2 > 1 > 3", "": ["a 1", "a 2", "a 3"]}}, slow={"latency": 30.0})
    part = Generator("m", samples=3) >> Ranker("m") >> Fuser("slow")
    result = go(part, models, deadline=0.5, partial=True)
    assert result.text == "a 2"
    assert result.stopped == "no answer within the deadline of 0.5 s"


def test_a_run_that_failed_for_another_reason_stays_failed() -> None:
    models = table(m={}, broken={"failures": {"refused": 1.0}})
    with pytest.raises(RunError, match="refused"):
        go(Generator("m", samples=2) >> Fuser("broken"), models, partial=True)


def test_a_run_to_its_end_says_nothing_of_stopping() -> None:
    result = go(Generator("m", samples=2) >> Vote(), table(m={"latency": 0.01}), budget=Budget(calls=9), partial=True)
    assert result.stopped is None
    assert result.waited >= 0.01


def test_runs_with_other_first_samples_take_other_draws() -> None:
    models = table(m={"answers": ["a 0", "a 1", "a 2"]})
    texts = {go(Generator("m"), models, first_sample=first).text for first in range(3)}
    assert texts == {"a 0", "a 1", "a 2"}


def test_watchers_see_every_node_begin_and_end() -> None:
    seen: list[tuple[str, bool]] = []

    def watch(record: NodeRecord) -> None:
        seen.append((record.layer, record.ended is not None))

    go(Generator("m", samples=2) >> Vote(), table(m={}), watch=watch)
    assert seen == [("generator", False), ("generator", True), ("vote", False), ("vote", True)]


def test_the_writers_of_an_answer_are_the_last_nodes_that_write() -> None:
    fused = check((Generator("m", samples=3) >> Ranker("m") >> Fuser("m")).architecture())
    voted = check(((Generator("m", samples=3) | Generator("n")) >> Vote()).architecture())
    assert {fused.node(each).name for each in writers(fused)} == {"fuser"}
    assert {voted.node(each).name for each in writers(voted)} == {"generator"}
    assert len(writers(voted)) == 2


def test_final_settings_replace_those_of_the_writers_alone() -> None:
    async def inner(server: CountingServer) -> Result:
        rows = table(m={})
        spec = rows["m"].model_copy(update={"client": "openai", "endpoint": server.endpoint, "options": {}})
        async with ClientStack(type(rows)([spec])) as stack:
            part = Generator("m", samples=2, temperature=0.9, max_tokens=50) >> Fuser("m", temperature=0.8)
            final = Sampling(temperature=0.1, max_tokens=7)
            format_ = {"type": "json_object"}
            options = RunOptions(response_format=format_, final=final)
            return await run(part.architecture(), [user("q")], stack, options=options)

    with CountingServer() as server:
        asyncio.run(inner(server))
    *drafts, last = server.bodies
    assert [(each["temperature"], each["max_tokens"], "response_format" in each) for each in drafts] == [
        (0.9, 50, False)
    ] * 2
    assert (last["temperature"], last["max_tokens"], last["response_format"]) == (0.1, 7, {"type": "json_object"})


def test_tool_calls_vote_by_name_and_arguments() -> None:
    """Two calls that differ in id and spacing alone outvote a third with other arguments, which came first."""

    def call(index: int, arguments: str) -> Reply:
        function = {"name": "look", "arguments": arguments}
        made = {"tool_calls": [{"id": f"c{index}", "type": "function", "function": function}]}
        return Reply(None, message=made, finish_reason="tool_calls")

    async def inner(server: CountingServer) -> Result:
        spec = table(m={})["m"].model_copy(update={"client": "openai", "endpoint": server.endpoint, "options": {}})
        async with ClientStack(type(table())([spec])) as stack:
            part = Generator("m", samples=3) >> Vote()
            tools = ({"type": "function", "function": {"name": "look"}},)
            return await run(part.architecture(), [user("q")], stack, options=RunOptions(tools=tools))

    script = [call(0, '{"x": 1}'), call(1, '{"x":2, "y": 3}'), call(2, '{"y":3,"x":2}')]
    with CountingServer(script=script) as server:
        result = asyncio.run(inner(server))
    winner = result.answer.tool_calls[0]
    assert winner["function"]["arguments"] in ('{"x":2, "y": 3}', '{"y":3,"x":2}')
    assert result.candidates[0].score == pytest.approx(2 / 3)
