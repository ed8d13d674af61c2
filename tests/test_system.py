"""`Archon`: load, save, run, stream, draw."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from archon import Archon, Fuser, Generator, ModelSpec, Vote
from archon.clients.stack import ClientStack
from archon.errors import ArchitectureError, ConfigError, UnknownNameError
from archon.executor import Result
from archon.system import messages
from archon.types import Message, user

FAKE: list[dict[str, Any]] = [{"id": "m", "client": "fake", "options": {"answers": ["the answer is 4"]}}]


def _system(**more: Any) -> Archon:
    return Archon(Generator("m", samples=3) >> Vote(), models=FAKE, **more)


def test_run_answers() -> None:
    result = _system().run("what is 2 + 2?")
    assert result.text == "the answer is 4"
    assert result.answer.role == "assistant"
    assert result.completion.usage.calls == 3


def test_run_inside_a_loop_says_what_to_use() -> None:
    async def inner() -> None:
        _system().run("q")

    with pytest.raises(ConfigError, match="await system"):
        asyncio.run(inner())


def test_connections_stay_open_inside_async_with(tmp_path: Path) -> None:
    async def inner() -> int:
        async with _system(cache=tmp_path) as system:
            await system.arun("q")
            second = await system.arun("q")
        return second.trace.cache_hits

    assert asyncio.run(inner()) == 3


def test_a_block_inside_a_block_leaves_the_connections_open(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[ClientStack] = []
    close = ClientStack.aclose

    async def noted(stack: ClientStack) -> None:
        closed.append(stack)
        await close(stack)

    async def inner() -> None:
        system = _system()
        async with system:
            async with system:
                await system.arun("q")
            await system.arun("q")
            assert closed == []
        assert len(closed) == 1
        await system.arun("q")
        assert len(closed) == 2  # outside a block, a run has its own

    monkeypatch.setattr(ClientStack, "aclose", noted)
    asyncio.run(inner())


def test_saved_systems_load(tmp_path: Path) -> None:
    system = _system(name="three votes", extractor="text", seed=7)
    system.save(tmp_path / "s.yaml")
    again = Archon.load(tmp_path / "s.yaml")
    assert again.hash == system.hash
    assert again.models["m"] == system.models["m"]
    assert (again.extractor, again.seed, again.architecture.name) == ("text", 7, "three votes")
    assert again.facts == {}
    assert again.run("q").text == "the answer is 4"


def test_rows_given_at_load_replace_those_of_the_file(tmp_path: Path) -> None:
    _system().save(tmp_path / "s.yaml")
    other = ModelSpec(id="m", client="fake", options={"answers": ["9"]})
    assert Archon.load(tmp_path / "s.yaml", models=[other]).run("q").text == "9"


def test_streaming_gives_pieces_then_the_result() -> None:
    system = Archon(Generator("m") >> Fuser("m"), models=FAKE)

    async def inner() -> list[str | Result]:
        return [piece async for piece in system.stream("q")]

    *pieces, last = asyncio.run(inner())
    assert isinstance(last, Result)
    assert len(pieces) > 1
    assert "".join(str(piece) for piece in pieces) == last.text


def test_streaming_a_vote_gives_the_whole_answer_at_once() -> None:
    async def inner() -> list[str | Result]:
        return [piece async for piece in _system().stream("q")]

    pieces = asyncio.run(inner())
    assert pieces[0] == "the answer is 4"
    assert len(pieces) == 2


def test_leaving_a_stream_early_cancels_the_run() -> None:
    slow = [{"id": "m", "client": "fake", "options": {"answers": ["word " * 50], "token_latency": 0.01}}]

    async def inner() -> int:
        system = Archon(Generator("m"), models=slow)
        async for _ in system.stream("q"):
            break
        await asyncio.sleep(0.01)
        return len([task for task in asyncio.all_tasks() if task is not asyncio.current_task()])

    assert asyncio.run(inner()) == 0


def test_errors_reach_the_streams_reader() -> None:
    broken = [{"id": "m", "client": "fake", "retries": 0, "options": {"failures": {"auth": 1.0}}}]

    async def inner() -> None:
        async for _ in Archon(Generator("m"), models=broken).stream("q"):
            pass

    with pytest.raises(Exception, match="401"):
        asyncio.run(inner())


def test_drawings() -> None:
    system = _system()
    assert "generator m (samples=3)" in system.draw()
    assert system.draw("mermaid").startswith("flowchart LR")
    with pytest.raises(ConfigError, match="'text' or 'mermaid'"):
        system.draw("png")


def test_mermaid_labels_cannot_break_out() -> None:
    odd = [{"id": 'a"]; click n0 "javascript:alert(1)', "client": "fake"}]
    drawn = Archon(Generator(odd[0]["id"]), models=odd).draw("mermaid")
    assert '"]; click' not in drawn


def test_a_bare_unknown_model_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown model 'gpt'"):
        Archon(Generator("gpt"))


def test_provider_names_need_no_table() -> None:
    table = Archon((Generator("openai/gpt-4o-mini") | Generator("anthropic/claude-x")) >> Vote()).models
    assert table["openai/gpt-4o-mini"].endpoint == "https://api.openai.com/v1"
    assert table["anthropic/claude-x"].client == "litellm"


def test_a_provider_without_a_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing after the slash"):
        Archon(Generator("openai/"))


@pytest.mark.parametrize(
    "question",
    ["hi", user("hi"), {"role": "user", "content": "hi"}, [{"role": "user", "content": "hi"}], [user("hi")]],
)
def test_questions_come_in_every_form(question: Any) -> None:
    assert messages(question) == (Message("user", "hi"),)


@pytest.mark.parametrize("question", [3, [{"content": "hi"}], [3]])
def test_what_is_no_question_is_refused(question: Any) -> None:
    with pytest.raises(ConfigError):
        messages(question)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nodes: [\n", "not valid YAML"),
        ("- 1\n", "a mapping is needed"),
        ("nodes: []\noutput: x\n", "at least 1 item"),
        ("architecture: {nodes: [{id: g, layer: generator, model: m}], output: g}\nsed: 1\n", "Did you mean 'seed'"),
        ("architecture: {nodes: [{id: g, layer: generator, model: m}], output: g}\nseed: one\n", "whole number"),
        ("nodes: [{id: g, layer: generator, model: m, colour: red}]\noutput: g\n", "unknown key 'nodes.0.colour'"),
        ("nodes: [{id: g, layer: generator, model: m}]\noutput: g\nextractor: 3\n", "extractor must be a name"),
        ("nodes: [{id: g, layer: generator, model: m}]\noutput: g\nmodels: [3]\n", r"models\[0\]"),
        ("nodes: [{id: g, layer: generator, model: m}]\noutput: g\nmodels: {}\n", "a list of models"),
        ("nodes: [{id: g, layer: generator, model: m}]\noutput: g\nlift: [gravity]\n", "lift"),
    ],
)
def test_broken_files_say_what_and_where(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        Archon.load(path, models=FAKE)
    assert "\n" not in str(caught.value)
    assert "a.yaml" in str(caught.value)


def test_missing_and_broken_json_files_say_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        Archon.load(tmp_path / "no.yaml")
    with pytest.raises(ConfigError, match="no such file"):
        Archon.load(tmp_path / "no.json")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(ArchitectureError, match="line 1: not valid JSON"):
        Archon.load(tmp_path / "b.json")
    (tmp_path / "latin.json").write_bytes(b'{"name": "\xe9"}')
    (tmp_path / "folder.json").mkdir()
    for name in ("latin.json", "folder.json"):
        with pytest.raises(ArchitectureError, match=f"{name}: cannot be read"):
            Archon.load(tmp_path / name)


def test_representation_names_the_system() -> None:
    assert "three" in repr(_system(name="three"))
