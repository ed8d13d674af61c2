"""What every client promises, checked on every transport and every wrapper.

A new client joins by one line in `CASES`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from archon.budget import Budget
from archon.clients.attempt import Timed
from archon.clients.budget import Budgeted
from archon.clients.cache import Cached
from archon.clients.defaults import WithDefaults
from archon.clients.fake import FakeClient, FakeOptions
from archon.clients.flight import Flights
from archon.clients.guard import Guarded
from archon.clients.limit import Limited, Limiter
from archon.clients.openai import OpenAIClient
from archon.clients.replay import ReplayClient
from archon.clients.retry import Backoff, Retrying
from archon.clients.stack import ClientStack
from archon.clients.store import CacheStore
from archon.clients.wrapper import Shared, Wrapper
from archon.errors import ClientError
from archon.models import ModelSpec, ModelTable
from archon.protocols import Client
from archon.registry import names
from archon.types import Chunk, Completion, Price, Request, Sampling, user
from tests.servers import CountingServer, Reply

QUESTION = "How many eggs are left?"
ANSWER = "nine eggs are left"
ASKED = Request((user(QUESTION),), Sampling(temperature=0.0, max_tokens=50), seed=1)
FREE = Price(0, 0)


@dataclass
class Case:
    """One client under test, with what it stands on."""

    client: Client
    cancelled: Callable[[], bool]
    """Whether nothing is under way any more."""
    answer: str | None = ANSWER
    """What it answers; None = a real model, whose answer is whatever it is."""


Make = Callable[["Kit"], Any]


@dataclass
class Kit:
    """What a case is built from: a folder, and how the model behind it behaves."""

    folder: Path
    failing: bool = False
    hanging: bool = False
    upstream: CountingServer | None = None

    def fake(self) -> FakeClient:
        """A scripted transport of the wanted behaviour."""
        failures: dict[Any, float] = {"refused": 1.0} if self.failing else {"hang": 1.0} if self.hanging else {}
        return FakeClient("m", [ANSWER], price=FREE, options=FakeOptions(failures=failures))

    def server(self) -> CountingServer:
        """A real upstream of the wanted behaviour."""
        assert self.upstream is None
        failed = Reply("no such model", status=404)
        self.upstream = CountingServer(lambda body: failed if self.failing else Reply(ANSWER, hang=self.hanging))
        return self.upstream


@asynccontextmanager
async def _openai(kit: Kit) -> AsyncIterator[Case]:
    with kit.server() as server:
        client = OpenAIClient(ModelSpec(id="m", endpoint=server.endpoint))
        yield Case(client, lambda: server.under_way == 0)
        await client.aclose()


@asynccontextmanager
async def _litellm(kit: Kit) -> AsyncIterator[Case]:
    pytest.importorskip("litellm", reason="litellm is not installed")
    from archon.clients.litellm import LiteLLMClient

    with kit.server() as server:
        client = LiteLLMClient(
            ModelSpec(id="m", client="litellm", name="openai/m", endpoint=server.endpoint, options=_KEYLESS)
        )
        yield Case(client, lambda: server.under_way == 0)
        await client.aclose()


_KEYLESS = {"arguments": {"api_key": "none-needed"}}


@asynccontextmanager
async def _replay(kit: Kit) -> AsyncIterator[Case]:
    path = kit.folder / "recorded.jsonl"
    question = "another question" if kit.failing else QUESTION
    path.write_text(json.dumps({"question": question, "model": "m", "answer": ANSWER}) + "\n")
    yield Case(ReplayClient.from_spec(ModelSpec(id="m", client="replay", options={"path": str(path)})), lambda: True)


@asynccontextmanager
async def _local(kit: Kit) -> AsyncIterator[Case]:
    pytest.importorskip("transformers", reason="the extra [local] is not installed")
    from archon.clients.local import LocalClient
    from tests.clients.local_models import make_folder

    folder = await asyncio.to_thread(make_folder, kit.folder / "model")
    context = 2 if kit.failing else None  # the prompt alone is longer
    client = LocalClient(ModelSpec(id="m", client="local", name=str(folder), context=context))
    yield Case(client, lambda: True, answer=None)
    await client.aclose()


def _wrapped(wrap: Callable[[Kit, FakeClient], Client]) -> Make:
    @asynccontextmanager
    async def make(kit: Kit) -> AsyncIterator[Case]:
        fake = kit.fake()
        client = wrap(kit, fake)
        yield Case(client, lambda: fake.in_flight == 0)
        await client.aclose()

    return make


@asynccontextmanager
async def _cached(kit: Kit) -> AsyncIterator[Case]:
    fake, store = kit.fake(), CacheStore(kit.folder / "cache.sqlite")
    yield Case(Cached(fake, store, Flights(), "identity"), lambda: fake.in_flight == 0)
    await store.aclose()


@asynccontextmanager
async def _stack(kit: Kit) -> AsyncIterator[Case]:
    failures = {"refused": 1.0} if kit.failing else {"hang": 1.0} if kit.hanging else {}
    options = {"answers": [ANSWER], "failures": failures}
    price = {"prompt": 1.0, "completion": 2.0}
    limits = {"in_flight": 3, "per_minute": 100}
    table = ModelTable.from_list(
        [{"id": "m", "client": "fake", "options": options, "price": price, "limits": limits, "max_tokens": 50}]
    )
    async with ClientStack(table, cache=CacheStore(kit.folder / "c.sqlite"), budget=Budget(usd=1.0)) as stack:
        fake = stack.transport("m")
        assert isinstance(fake, FakeClient)
        yield Case(stack.open("m"), lambda: fake.in_flight == 0)


CASES: dict[str, Make] = {
    "fake": _wrapped(lambda kit, fake: fake),
    "openai": _openai,
    "litellm": _litellm,
    "local": _local,
    "replay": _replay,
    "wrapper": _wrapped(lambda kit, fake: Wrapper(fake)),
    "shared": _wrapped(lambda kit, fake: Shared(fake)),
    "cache": _cached,
    "retry": _wrapped(lambda kit, fake: Retrying(fake, Backoff(2))),
    "limit": _wrapped(lambda kit, fake: Limited(fake, Limiter(2, 50))),
    "budget": _wrapped(lambda kit, fake: Budgeted(fake, Budget(calls=100, tokens=10_000, usd=1.0), FREE, "m")),
    "timeout": _wrapped(lambda kit, fake: Timed(fake, 30.0, "m")),
    "guard": _wrapped(lambda kit, fake: Guarded(fake, "m", 1000)),
    "defaults": _wrapped(lambda kit, fake: WithDefaults(fake, 50)),
    "stack": _stack,
}
NAMES: list[Any] = [
    # litellm's own warnings (deprecated pydantic calls, unawaited log handlers) are not what is tested here
    pytest.param(name, marks=pytest.mark.filterwarnings("ignore")) if name == "litellm" else name
    for name in CASES
]
HANGING = [name for name in NAMES if name not in ("replay", "local")]  # a recording and a forward pass cannot hang


@pytest.fixture(autouse=True)
def _nothing_is_left_open() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        yield
        gc.collect(1)  # the young objects: all that this test made


def test_every_registered_client_is_under_this_contract() -> None:
    assert set(names("clients")) <= set(CASES)


async def _streamed(client: Client, request: Request = ASKED) -> tuple[str, list[Completion]]:
    chunks: list[Chunk] = [chunk async for chunk in client.stream(request)]
    return "".join(chunk.text for chunk in chunks), [chunk.completion for chunk in chunks if chunk.completion]


@pytest.mark.parametrize("name", NAMES)
async def test_complete_and_stream_give_the_same_answer(name: str, tmp_path: Path) -> None:
    async with CASES[name](Kit(tmp_path)) as case:
        whole = await case.client.complete(ASKED)
        text, ends = await _streamed(case.client)
    assert whole.text == text == (whole.text if case.answer is None else case.answer)
    assert [end.text for end in ends] == [text]  # one completion, in the last chunk
    assert (ends[0].message, ends[0].finish_reason, ends[0].model) == (whole.message, whole.finish_reason, whole.model)
    for usage in (whole.usage, ends[0].usage):
        assert usage.calls == 1
        assert usage.prompt_tokens > 0
        assert usage.completion_tokens > 0
    assert whole.usage.tokens == ends[0].usage.tokens


@pytest.mark.parametrize("name", NAMES)
async def test_it_is_a_client_and_its_capabilities_are_honest(name: str, tmp_path: Path) -> None:
    async with CASES[name](Kit(tmp_path)) as case:
        assert isinstance(case.client, Client)
        capabilities = case.client.capabilities
        assert capabilities <= {"seed", "stream", "logprobs", "score", "tools", "count_tokens"}
        if "count_tokens" in capabilities:
            counted = case.client.count_tokens(ASKED.messages)  # type: ignore[attr-defined]
            assert counted == (await case.client.complete(ASKED)).usage.prompt_tokens
        if "score" not in capabilities and isinstance(case.client, Wrapper):
            with pytest.raises(ClientError, match="cannot score"):
                await case.client.score(ASKED.messages, "nine")


@pytest.mark.parametrize("name", NAMES)
async def test_a_refusal_is_a_client_error_from_both_ways_and_never_an_answer(name: str, tmp_path: Path) -> None:
    async with CASES[name](Kit(tmp_path, failing=True)) as case:
        with pytest.raises(ClientError) as refused:
            await case.client.complete(ASKED)
        with pytest.raises(ClientError):
            await _streamed(case.client)
    assert "\n" not in str(refused.value)
    assert QUESTION not in str(refused.value) or name == "replay"  # replay names the question it lacks, cut short


@pytest.mark.parametrize("name", HANGING)
async def test_cancelling_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as exits:
        case = await exits.enter_async_context(CASES[name](Kit(tmp_path, hanging=True)))
        before = asyncio.all_tasks()
        waiting = [
            asyncio.create_task(_first(case.client)),
            asyncio.create_task(_all(case.client)),
        ]
        await asyncio.sleep(0.1)
        for task in waiting:
            task.cancel()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ends] == [asyncio.CancelledError] * 2
        for _ in range(100):
            if case.cancelled():
                break
            await asyncio.sleep(0.02)  # a server in another thread sees the closed connection a little later
        assert case.cancelled()
        if name != "litellm":  # its own background tasks are its own
            assert asyncio.all_tasks() - before <= {asyncio.current_task()}


async def _all(client: Client) -> None:
    async for _ in client.stream(ASKED):
        pass


async def _first(client: Client) -> None:
    await client.complete(ASKED)


@pytest.mark.parametrize("name", NAMES)
async def test_a_stream_that_is_no_longer_read_frees_what_it_held(name: str, tmp_path: Path) -> None:
    async with CASES[name](Kit(tmp_path)) as case:
        pieces = case.client.stream(ASKED)
        assert (await anext(pieces)).text
        await pieces.aclose()
        for _ in range(100):
            if case.cancelled():
                break
            await asyncio.sleep(0.02)
        assert case.cancelled()
        again = await case.client.complete(ASKED)  # and the client still works
    assert again.text == (again.text if case.answer is None else case.answer)


@pytest.mark.parametrize("name", NAMES)
async def test_closing_twice_is_closing_once(name: str, tmp_path: Path) -> None:
    async with CASES[name](Kit(tmp_path)) as case:
        await case.client.complete(ASKED)
        await case.client.aclose()
        await case.client.aclose()


@pytest.mark.parametrize("name", NAMES)
async def test_many_calls_at_once_lose_none(name: str, tmp_path: Path) -> None:
    async with CASES[name](Kit(tmp_path)) as case:
        answers = await asyncio.gather(*(case.client.complete(ASKED) for _ in range(25)))
    assert len(answers) == 25
    assert {answer.text for answer in answers} == {answers[0].text if case.answer is None else case.answer}
