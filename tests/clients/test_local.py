"""The local client as a whole: answers, seeds, batching, streams, scores, errors, cancellation."""

from __future__ import annotations

import asyncio
import importlib.util
import math
import shutil
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from archon.clients import local, local_loading
from archon.clients.local import LocalClient
from archon.clients.local_decoding import PlainDecoding
from archon.clients.local_text import load_codec
from archon.errors import ClientError, ConfigError, ContextOverflowError, MissingExtraError, RequestError
from archon.models import ModelSpec, PriceSpec
from archon.protocols import Client
from archon.types import Completion, Message, Request, Sampling, user
from tests.clients.local_models import grouped, llama, make_folder

__all__ = ["grouped", "llama"]  # fixtures


def spec(folder: Path, **changes: Any) -> ModelSpec:
    return ModelSpec(
        **{"id": "tiny", "client": "local", "name": str(folder), "options": {"dtype": "float64"}} | changes
    )


def ask(text: str = "How many apples?", seed: int | None = 1, **sampling: Any) -> Request:
    return Request((user(text),), Sampling(**{"max_tokens": 20} | sampling), seed=seed)


def mixed(count: int) -> list[Request]:
    """Requests of many lengths and settings."""
    return [
        ask(
            "apples " * (index % 7) + str(index // 2),
            index,
            temperature=(0.5, 1.0, 1.5)[index % 3],
            top_p=(None, 0.9)[index % 2],
            max_tokens=5 + index % 40,
        )
        for index in range(count)
    ]


@pytest.fixture
async def client(llama: Path) -> AsyncIterator[LocalClient]:
    made = LocalClient.from_spec(spec(llama))
    yield made
    await made.aclose()


async def test_the_tokenizer_is_read_once_and_beside_the_event_loop(
    client: LocalClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: list[threading.Thread] = []

    def noted(*given: Any, **options: Any) -> Any:
        readers.append(threading.current_thread())
        return load_codec(*given, **options)

    monkeypatch.setattr(local, "load_codec", noted)
    await asyncio.gather(*(client.complete(ask(max_tokens=2, seed=seed)) for seed in range(4)))
    (reader,) = readers
    assert reader is not threading.current_thread()


def test_it_is_a_client_and_says_what_it_can(llama: Path) -> None:
    made = LocalClient.from_spec(spec(llama))
    assert isinstance(made, Client)
    assert made.capabilities == {"seed", "stream", "logprobs", "score", "count_tokens"}


@pytest.mark.parametrize("name", ["llama", "grouped"])
async def test_greedy_answers_are_those_of_generate(name: str, request: pytest.FixtureRequest) -> None:
    from transformers import AutoModelForCausalLM

    folder = request.getfixturevalue(name)
    codec = load_codec(folder, "auto", zoo=False)
    prompt = codec.prompt([user("How many apples?")])
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    ids = torch.tensor([prompt])
    whole = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=40)[0].tolist()
    made = LocalClient.from_spec(spec(folder))
    answer = await made.complete(ask(temperature=0, max_tokens=40))
    await made.aclose()
    assert answer.text == codec.text(whole[len(prompt) :])
    assert answer.usage.completion_tokens == len(whole) - len(prompt)


async def test_answers_do_not_depend_on_company(client: LocalClient) -> None:
    requests = mixed(40)
    together = await asyncio.gather(*map(client.complete, requests))
    alone = [await client.complete(request) for request in requests]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert len({answer.text for answer in together}) > 35


async def test_the_default_is_independent_of_company_too(llama: Path) -> None:
    requests = mixed(30)
    crowd, one = (LocalClient.from_spec(spec(llama, options=options)) for options in ({}, {"slots": 1}))
    together = await asyncio.gather(*map(crowd.complete, requests))
    alone = await asyncio.gather(*map(one.complete, requests))
    await crowd.aclose()
    await one.aclose()
    assert [answer.text for answer in together] == [answer.text for answer in alone]


async def test_the_seed_decides_the_draw(client: LocalClient) -> None:
    first, again, other = [(await client.complete(ask(seed=seed))).text for seed in (5, 5, 6)]
    assert first == again != other


async def test_without_a_seed_draws_differ(client: LocalClient) -> None:
    texts = {(await client.complete(ask(seed=None))).text for _ in range(4)}
    assert len(texts) > 1


async def test_the_callers_own_seed_makes_another_draw_of_each_sample(client: LocalClient) -> None:
    def texts(requests: Sequence[Request]) -> Any:
        return asyncio.gather(*map(client.complete, requests))

    wanted = [replace(ask(seed=None), sampling=Sampling(seed=3, max_tokens=20), sample=index) for index in (0, 1, 0)]
    first, second, again = [answer.text for answer in await texts(wanted)]
    assert first == again != second


async def test_length_and_usage_are_exact(llama: Path) -> None:
    made = LocalClient.from_spec(spec(llama, price=PriceSpec(prompt=2, completion=3)))
    answer = await made.complete(ask(max_tokens=7, seed=2))
    unknown = LocalClient.from_spec(spec(llama))
    free = await unknown.complete(ask(max_tokens=7, seed=2))
    await made.aclose()
    await unknown.aclose()
    prompt = made.count_tokens([user("How many apples?")])
    assert prompt == len(load_codec(llama, "auto", zoo=False).prompt([user("How many apples?")]))
    assert (answer.finish_reason, answer.usage.completion_tokens, answer.usage.prompt_tokens) == ("length", 7, prompt)
    assert answer.usage.cost_usd == pytest.approx((2 * prompt + 3 * 7) / 1e6)
    assert free.usage.cost_usd is None
    assert answer.usage.seconds > 0


async def test_an_end_token_ends_the_answer_and_counts_as_generated(client: LocalClient) -> None:
    answers = await asyncio.gather(
        *(client.complete(ask(seed=seed, max_tokens=150, logprobs=True)) for seed in range(40))
    )
    ended = [answer for answer in answers if answer.finish_reason == "stop"]
    assert ended  # one token in 300 ends an answer: 40 answers of 150 tokens all go on with probability e^-20
    for answer in ended:
        assert answer.logprobs is not None
        assert len(answer.logprobs) == answer.usage.completion_tokens - 1
        assert "eos" not in answer.text


async def test_a_stop_string_cuts_the_answer(client: LocalClient) -> None:
    whole = await client.complete(ask(max_tokens=30, logprobs=True))
    middle = whole.text[len(whole.text) // 2 :][:3]
    cut = await client.complete(ask(max_tokens=30, logprobs=True, stop=(middle,)))
    assert cut.text == whole.text[: whole.text.index(middle)]
    assert cut.finish_reason == "stop"
    assert cut.usage.completion_tokens < 30
    assert cut.logprobs is not None
    assert whole.logprobs is not None
    assert cut.logprobs == whole.logprobs[: len(cut.logprobs)]
    assert len(cut.logprobs) <= cut.usage.completion_tokens


async def test_log_probabilities_are_those_of_transformers_and_of_score(llama: Path, client: LocalClient) -> None:
    from transformers import AutoModelForCausalLM

    codec = load_codec(llama, "auto", zoo=False)
    continuation = "The answer is seven."
    prompt, scored = codec.prompt([user("How many?")]), codec.plain(continuation)
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float64)
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *scored]])).logits[0].log_softmax(-1)
    found = await client.score([user("How many?")], continuation)
    wanted = [float(logits[len(prompt) - 1 + index, token]) for index, token in enumerate(scored)]
    assert [token.logprob for token in found] == pytest.approx(wanted, abs=2e-4)
    assert "".join(token.token for token in found) == continuation
    assert await client.score([user("How many?")], "") == ()


async def test_generated_tokens_have_the_log_probability_that_score_gives_them(client: LocalClient) -> None:
    answer = await client.complete(ask(max_tokens=12, temperature=0, logprobs=True, top_logprobs=3))
    assert answer.logprobs is not None
    for token in answer.logprobs:
        assert len(token.top) == 3
        assert token.top[0] == (token.token, token.logprob)  # greedy
        assert token.top[0][1] >= token.top[1][1] >= token.top[2][1]
    scored = await client.score([user("How many apples?")], answer.text)
    if [token.token for token in scored] == [token.token for token in answer.logprobs]:
        assert [token.logprob for token in scored] == pytest.approx([t.logprob for t in answer.logprobs], abs=1e-9)
    assert (await client.complete(ask(max_tokens=2))).logprobs is None


async def test_a_stream_is_the_answer_in_pieces(client: LocalClient) -> None:
    whole = await client.complete(ask(max_tokens=25))
    chunks = [chunk async for chunk in client.stream(ask(max_tokens=25))]
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert len(chunks) > 5
    last = chunks[-1].completion
    assert last is not None
    assert replace(last, usage=whole.usage) == whole
    assert all(chunk.completion is None for chunk in chunks[:-1])


async def test_a_stream_left_early_frees_its_slot(llama: Path) -> None:
    made = LocalClient.from_spec(spec(llama, options={"slots": 1}))
    stream = made.stream(ask(max_tokens=10_000, stop=("never met",)))
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    assert (await made.complete(ask(max_tokens=2))).usage.completion_tokens == 2
    await made.aclose()


async def test_a_cancelled_call_frees_its_slot_and_harms_nobody(llama: Path) -> None:
    made = LocalClient.from_spec(spec(llama, options={"slots": 2, "dtype": "float64"}))
    wanted = await made.complete(ask(seed=9, max_tokens=60))
    calls = [asyncio.create_task(made.complete(ask(seed=seed, max_tokens=200))) for seed in range(6)]
    beside = asyncio.create_task(made.complete(ask(seed=9, max_tokens=60)))
    await asyncio.sleep(0.02)
    for call in calls:
        call.cancel()
    assert (await beside).text == wanted.text
    assert all(
        isinstance(result, asyncio.CancelledError) for result in await asyncio.gather(*calls, return_exceptions=True)
    )
    await made.aclose()


async def test_draws_of_one_prompt_share_one_forward(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from archon.clients.local_llama import Llama

    filled: list[int] = []
    honest = Llama.prefill

    def counted(self: Llama, prompts: Sequence[Sequence[int]]) -> Any:
        filled.extend(map(len, prompts))
        return honest(self, prompts)

    monkeypatch.setattr(Llama, "prefill", counted)
    made = LocalClient.from_spec(spec(llama, options={"dtype": "float64", "slots": 3}))
    answers = await asyncio.gather(*(made.complete(ask(seed=seed)) for seed in range(10)))
    assert len(filled) == 1
    assert len({answer.text for answer in answers}) == 10
    assert {answer.usage.prompt_tokens for answer in answers} == set(filled)
    await made.aclose()


async def test_old_prompts_are_forgotten(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from archon.clients import local_decoding

    monkeypatch.setattr(local_decoding, "_KEPT_BYTES", 100_000)  # 48 tokens of 2 layers × 2 × 64 × 8 bytes
    made = LocalClient.from_spec(spec(llama))
    texts = [(await made.complete(ask("apples " * index))).text for index in (1, 2, 3, 1)]
    assert texts[0] == texts[3]
    decoding = made._engine._decoding
    assert isinstance(decoding, PlainDecoding)
    assert 0 < sum(map(len, decoding._prefixes)) <= 48
    await made.aclose()


async def test_a_prompt_too_long_is_refused_before_anything_is_run(client: LocalClient) -> None:
    with pytest.raises(ContextOverflowError, match="256 tokens") as caught:
        await client.complete(ask("apples " * 400))
    assert caught.value.billed is False
    with pytest.raises(ContextOverflowError):
        await client.score([user("hi")], "apples " * 400)


async def test_an_answer_ends_with_the_context(llama: Path) -> None:
    made = LocalClient.from_spec(spec(llama, context=40))
    answers = await asyncio.gather(*(made.complete(ask(max_tokens=None, seed=seed)) for seed in range(6)))
    full = [answer.usage for answer in answers if answer.finish_reason == "length"]
    assert {usage.prompt_tokens + usage.completion_tokens for usage in full} == {40}
    await made.aclose()


async def test_what_a_local_model_cannot_do_is_refused_by_name(client: LocalClient) -> None:
    for request, name in (
        (ask(frequency_penalty=0.5), "frequency_penalty"),
        (ask(extra={"min_p": 0.1}), "min_p"),
        (replace(ask(), tools=({"type": "function"},)), "tools"),
        (replace(ask(), response_format={"type": "json_object"}), "response_format"),
    ):
        with pytest.raises(RequestError, match=name):
            await client.complete(request)
    assert (await client.complete(replace(ask(presence_penalty=0.0), response_format={"type": "text"}))).text


@pytest.mark.parametrize(
    ("setting", "value"),
    [("temperature", -1.0), ("temperature", math.inf), ("top_p", 0.0), ("top_p", 1.5), ("top_k", 0), ("max_tokens", 0)],
)
async def test_settings_out_of_range_are_refused_by_name(client: LocalClient, setting: str, value: float) -> None:
    with pytest.raises(RequestError, match=f"{setting} must"):
        await client.complete(ask(**{setting: value}))


async def test_many_long_prompts_are_admitted_by_turns(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from archon.clients import local_engine

    monkeypatch.setattr(local_engine, "_ADMITTED_TOKENS", 100)
    begun: list[int] = []
    honest = PlainDecoding.begin
    monkeypatch.setattr(
        PlainDecoding,
        "begin",
        lambda self, jobs: (begun.append(sum(len(j.prompt) for j in jobs)), honest(self, jobs))[1],
    )
    made = LocalClient.from_spec(spec(llama))
    requests = [ask(f"{index} " + "apples " * 20) for index in range(12)]
    answers = await asyncio.gather(*map(made.complete, requests))
    await made.aclose()
    assert all(answer.text for answer in answers)
    assert max(begun) < 100 + max(answer.usage.prompt_tokens for answer in answers)


class Poisoned:
    """A model whose logits are NaN for prompts that hold a certain token, and that fails outright for another."""

    def __init__(self, model: Any, sick: int, fatal: int) -> None:
        self._model, self._sick, self._fatal = model, sick, fatal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Any:
        if any(self._fatal in prompt for prompt in prompts):
            raise RuntimeError("out of memory\nlong story")
        prefixes = self._model.prefill(prompts)
        for prompt, prefix in zip(prompts, prefixes, strict=True):
            if self._sick in prompt:
                prefix.logits = prefix.logits * float("nan")
        return prefixes


async def test_an_error_reaches_only_the_call_that_caused_it(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sick, fatal = (load_codec(llama, "auto", zoo=False).plain(letter)[0] for letter in "QZ")
    honest = local_loading.load_model
    monkeypatch.setattr(local_loading, "load_model", lambda *args: Poisoned(honest(*args), sick, fatal))
    made = LocalClient.from_spec(spec(llama))
    texts = ["one", "Q", "two", "Z", "three"]
    results = await asyncio.gather(*(made.complete(ask(text)) for text in texts), return_exceptions=True)
    kinds = [type(result) for result in results]
    assert kinds == [Completion, RequestError, Completion, RequestError, Completion]
    assert "not finite" in str(results[1])
    assert str(results[3]) == "the model cannot process this prompt: out of memory"
    sound = LocalClient.from_spec(spec(llama))
    for text, result in zip(texts, results, strict=True):
        if isinstance(result, Completion):
            assert (await sound.complete(ask(text))).text == result.text
    await made.aclose()
    await sound.aclose()


async def test_a_failing_step_fails_the_calls_under_way_and_the_next_ones_work(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archon.clients.local_llama import Llama

    honest, failures = Llama.advance, [RuntimeError("no memory")]

    def once(self: Llama) -> Any:
        if failures:
            raise failures.pop()
        return honest(self)

    monkeypatch.setattr(Llama, "advance", once)
    made = LocalClient.from_spec(spec(llama, options={"dtype": "float64"}))
    results = await asyncio.gather(*(made.complete(ask(seed=seed)) for seed in range(3)), return_exceptions=True)
    assert any(isinstance(result, ClientError) and "no memory" in str(result) for result in results)
    assert (await made.complete(ask())).text
    await made.aclose()


async def test_weights_that_cannot_be_loaded_are_a_config_error_for_every_call(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"no weights")
    made = LocalClient.from_spec(spec(folder))
    results = await asyncio.gather(*(made.complete(ask(seed=seed)) for seed in range(3)), return_exceptions=True)
    assert {type(result) for result in results} == {ConfigError}
    with pytest.raises(ConfigError, match="weights cannot be read"):
        await made.complete(ask())
    await made.aclose()


def test_mistakes_in_the_row_are_one_clear_line(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for row, words in (
        (spec(tmp_path / "nowhere"), "does not exist"),
        (spec(tmp_path), "no config.json"),
        (spec(llama, name="zoo:nobody"), "unknown zoo model 'nobody'"),
        (spec(llama, options={"dtyp": "float32"}), "Did you mean 'dtype'"),
        (spec(llama, options={"dtype": "int8"}), "dtype"),
        (spec(llama, options={"slots": 0}), "slots"),
    ):
        with pytest.raises(ConfigError) as caught:
            LocalClient.from_spec(row)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    honest = importlib.util.find_spec
    monkeypatch.setattr(local_loading, "find_spec", lambda name: None if name == "torch" else honest(name))
    with pytest.raises(MissingExtraError, match=r"\[local\]"):
        LocalClient.from_spec(spec(llama))


async def test_closing_ends_the_thread_and_the_calls_under_way(llama: Path) -> None:
    made = LocalClient.from_spec(spec(llama))
    calls = [asyncio.create_task(made.complete(ask(seed=seed, max_tokens=230))) for seed in range(200)]
    await made._ready()
    await asyncio.sleep(0.01)
    thread = made._engine._thread
    assert thread is not None
    assert thread.daemon
    await made.aclose()
    await made.aclose()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert any(isinstance(result, ClientError) and "closed" in str(result) for result in results)
    assert all(isinstance(result, (Completion, ClientError)) for result in results)
    assert not thread.is_alive()
    with pytest.raises(ClientError, match="closed"):
        await made.complete(ask())


def test_one_client_serves_loops_one_after_another(llama: Path) -> None:
    made = LocalClient.from_spec(spec(llama))
    texts = [asyncio.run(made.complete(ask())).text for _ in range(2)]
    assert texts[0] == texts[1]
    asyncio.run(made.aclose())


async def test_a_client_that_never_called_closes_at_once(llama: Path) -> None:
    await LocalClient.from_spec(spec(llama)).aclose()


async def test_other_architectures_run_through_transformers(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    tokenizer = AutoTokenizer.from_pretrained(make_folder(tmp_path / "words"))
    tokenizer.save_pretrained(tmp_path / "gpt2")
    torch.manual_seed(3)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=128, n_embd=32, n_layer=2, n_head=2, bos_token_id=None, eos_token_id=1,
        initializer_range=0.5,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).double().eval()
    model.save_pretrained(tmp_path / "gpt2")
    made = LocalClient.from_spec(spec(tmp_path / "gpt2"))
    prompt = load_codec(tmp_path / "gpt2", "auto", zoo=False).prompt([user("How many apples?")])
    ids = torch.tensor([prompt])
    whole = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=30)[0].tolist()
    requests = [ask(temperature=0, max_tokens=30), *(ask(seed=seed) for seed in range(2)), ask("short", seed=4)]
    together = await asyncio.gather(*map(made.complete, requests))
    alone = [await made.complete(request) for request in requests]
    scored = await made.score([user("hi")], "seven apples")
    with pytest.raises(ContextOverflowError, match="128"):
        await made.complete(ask("apples " * 200))
    await made.aclose()
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert together[0].text == load_codec(tmp_path / "gpt2", "auto", zoo=False).text(whole[len(prompt) :])
    assert all(math.isfinite(token.logprob) and token.logprob < 0 for token in scored)


async def test_a_folder_that_is_no_causal_model_is_a_config_error(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    (folder / "config.json").write_text('{"model_type": "no such thing", "eos_token_id": 1}')
    made = LocalClient.from_spec(spec(folder))
    with pytest.raises(ConfigError, match="cannot be loaded"):
        await made.complete(ask())
    await made.aclose()


@pytest.mark.parametrize("dtype", ["auto", "float32", "float64", "bfloat16"])
async def test_every_dtype_answers_and_auto_is_an_exact_one(llama: Path, dtype: str) -> None:
    made = LocalClient.from_spec(spec(llama, options={"dtype": dtype, "threads": 1}))
    assert (await made.complete(ask())).usage.completion_tokens > 0
    decoding = made._engine._decoding
    assert isinstance(decoding, PlainDecoding)
    assert decoding._model.dtype_name in (("float32", "float64") if dtype == "auto" else (dtype,))
    await made.aclose()


async def test_auto_falls_back_to_float64_where_rows_depend_on_each_other(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archon.clients import local_probe

    monkeypatch.setattr(local_probe, "row_invariant", lambda model: False)
    made = LocalClient.from_spec(spec(llama, options={}))
    await made.complete(ask())
    decoding = made._engine._decoding
    assert isinstance(decoding, PlainDecoding)
    assert decoding._model.dtype_name == "float64"
    await made.aclose()


def test_the_fingerprint_is_of_the_content_and_not_of_the_name(llama: Path, tmp_path: Path) -> None:
    """A model trained anew under its old name must not be given the old one's answers from the cache."""
    folder = Path(shutil.copytree(llama, tmp_path / "copy"))
    first = LocalClient.from_spec(spec(folder)).fingerprint
    assert first == LocalClient.from_spec(spec(llama)).fingerprint
    assert first != LocalClient.from_spec(spec(llama, context=40)).fingerprint
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert first != LocalClient.from_spec(spec(folder)).fingerprint
    vanished = LocalClient.from_spec(spec(folder))
    shutil.rmtree(folder)
    with pytest.raises(ConfigError, match="cannot be read"):
        _ = vanished.fingerprint


def test_only_the_ends_of_large_weights_are_read(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_loading, "_WHOLE", 100)
    monkeypatch.setattr(local_loading, "_END", 10)
    folder = Path(shutil.copytree(llama, tmp_path / "copy"))
    first = local_loading.fingerprint(folder, 100)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert first != local_loading.fingerprint(folder, 100)


def test_messages_are_encoded_once_for_all_draws_of_a_request(llama: Path) -> None:
    made = LocalClient.from_spec(spec(llama))
    messages: tuple[Message, ...] = (user("hi"),)
    assert made._prompt(messages) is made._prompt(messages)
    assert made._prompt((user("hi there"),)) != made._prompt(messages)
