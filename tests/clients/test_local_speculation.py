"""Speculation in the local client: the same answers token for token, in any company; what it reports and survives."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from archon import zoo
from archon.clients import local_probe
from archon.clients.key import upstream_identity
from archon.clients.local import LocalClient
from archon.clients.local_draft import Acceleration, accelerated_by, acceleration
from archon.clients.local_loading import LocalOptions
from archon.clients.local_probe import MOST_DRAFTED
from archon.clients.local_sampling import uniform, uniforms
from archon.clients.local_speculation import SpeculativeDecoding, _policies
from archon.clients.options import read_options
from archon.errors import ConfigError, RequestError
from archon.models import ModelSpec
from archon.types import Completion, Request, Sampling, Usage, user
from specdec.head import AcceptanceHead
from specdec.head_config import HeadConfig
from specdec.head_files import save_head
from specdec.pace import Pace, Paced
from specdec.stopping import Stopping
from tests.clients.local_models import llama, make_folder

__all__ = ["llama"]  # fixture


@pytest.fixture(scope="module")
def near(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A draft that mostly agrees with the target: the target itself with a little noise on its weights."""
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("near")
    shutil.copytree(llama, folder, dirs_exist_ok=True)
    model = AutoModelForCausalLM.from_pretrained(llama)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.03 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step drafts: whether that pays depends on the machine."""
    monkeypatch.setattr(Pace, "drafts", lambda self, rows: True)


def spec(folder: Path | str, **options: Any) -> ModelSpec:
    return ModelSpec(id="tiny", client="local", name=str(folder), options=options)


def head_folder(folder: Path, width: int = 64, **config: Any) -> Path:
    save_head(AcceptanceHead(HeadConfig(width, depth=1, **config)), folder)
    return folder


def requests(count: int, **sampling: Any) -> list[Request]:
    """Requests of many lengths and settings; some end by their length, some by a stop string."""
    return [
        Request(
            (user("apples " * (index % 7) + str(index // 2)),),
            Sampling(
                **{
                    "temperature": (0.0, 0.7, 1.0)[index % 3],
                    "top_p": (None, 0.9)[index % 2],
                    "top_k": (None, None, 20, None)[index % 4],
                    "max_tokens": 1 + 3 * (index % 25),
                    "stop": (("e",), ())[index % 5 > 0],
                    "logprobs": index % 4 == 0,
                }
                | sampling
            ),
            seed=index,
        )
        for index in range(count)
    ]


async def answers(row: ModelSpec, wanted: list[Request], *, together: bool = True) -> list[Completion]:
    client = LocalClient.from_spec(row)
    try:
        if together:
            return list(await asyncio.gather(*map(client.complete, wanted)))
        return [await client.complete(request) for request in wanted]
    finally:
        await client.aclose()


def told(found: list[Completion]) -> list[object]:
    """All of an answer but its times and counts."""
    return [(a.text, a.finish_reason, a.usage.completion_tokens, a.logprobs) for a in found]


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("policy", ["fixed:3", "logistic", "product:0.2,maximum=15"])
async def test_answers_are_token_for_token_those_without_speculation(
    llama: Path, near: Path, policy: str, dtype: str
) -> None:
    wanted = requests(30)
    plain = await answers(spec(llama, dtype=dtype), wanted)
    fast = await answers(spec(llama, dtype=dtype, draft=str(near), speculation=policy), wanted)
    assert told(fast) == told(plain)
    total = Usage.total(answer.usage for answer in fast)
    assert 0 < total.accepted_tokens < total.drafted_tokens < total.verified_tokens


@pytest.mark.usefixtures("always")
async def test_answers_do_not_depend_on_company(llama: Path, near: Path) -> None:
    wanted, row = requests(24), spec(llama, draft=str(near))
    assert told(await answers(row, wanted)) == told(await answers(row, wanted, together=False))


@pytest.mark.usefixtures("always")
async def test_a_head_changes_how_far_is_drafted_and_no_answer(llama: Path, near: Path, tmp_path: Path) -> None:
    wanted = requests(20)
    row = spec(llama, draft=str(near), head=str(head_folder(tmp_path)))
    found = await answers(row, wanted)
    assert told(found) == told(await answers(spec(llama), wanted))
    assert sum(answer.usage.drafted_tokens for answer in found) > 0


@pytest.mark.usefixtures("always")
@pytest.mark.skipif("clerk" not in zoo.names(), reason="the zoo's models are not here")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
async def test_greedy_answers_of_a_zoo_model_are_those_without_speculation(tmp_path: Path, dtype: str) -> None:
    draft = make_folder(
        tmp_path, vocab_size=512, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1,
    )  # fmt: skip
    shutil.copy(zoo.path("clerk") / "tokenizer.json", draft)
    asked = [f"Ann has {n} pens. Ann buys {n} boxes of {n + 3} pens. How many pens now?" for n in range(3, 11)]
    wanted = [Request((user(text),), Sampling(temperature=0, max_tokens=60)) for text in asked]
    plain = await answers(spec("zoo:clerk", dtype=dtype), wanted)
    fast = await answers(spec("zoo:clerk", dtype=dtype, draft=str(draft), speculation="fixed:4"), wanted)
    assert told(fast) == told(plain)
    assert all(answer.usage.drafted_tokens > 0 for answer in fast)


@pytest.mark.usefixtures("always")
async def test_a_draft_that_is_the_target_is_always_right_and_counted_so(llama: Path) -> None:
    wanted = requests(12, temperature=1.0, top_p=None, top_k=None, max_tokens=33, stop=())
    found = await answers(spec(llama, dtype="float64", draft=str(llama), speculation="fixed:7"), wanted, together=False)
    whole = [answer.usage for answer in found if answer.finish_reason == "length"]
    assert whole
    for usage in whole:
        # The prompt gives the first of 33 tokens; four rounds of 7 + 1 give the others.
        assert (usage.completion_tokens, usage.drafted_tokens, usage.accepted_tokens) == (33, 28, 28)
        assert usage.verified_tokens == 32


@pytest.mark.usefixtures("always")
async def test_a_stream_is_the_answer_in_pieces(llama: Path, near: Path) -> None:
    client = LocalClient.from_spec(spec(llama, draft=str(near)))
    wanted = replace(requests(25)[24], sampling=Sampling(max_tokens=40, temperature=0.7))
    whole = await client.complete(wanted)
    pieces = [chunk async for chunk in client.stream(wanted)]
    await client.aclose()
    assert "".join(chunk.text for chunk in pieces) == whole.text
    assert whole.usage.drafted_tokens > 0


@pytest.mark.usefixtures("always")
async def test_speculation_is_off_where_the_model_or_the_request_says_so(llama: Path, near: Path) -> None:
    for row, extra in (
        (spec(llama, draft=str(near), speculation=False), {}),
        (spec(llama, draft=str(near), speculation="off"), {}),
        (spec(llama, draft=str(near)), {"speculation": "off"}),
        (spec(llama, draft=str(near)), {"speculation": False}),
    ):
        (found,) = await answers(row, requests(1, max_tokens=20, extra=extra))
        assert (found.usage.drafted_tokens, found.usage.verified_tokens) == (0, 0)
    with pytest.raises(RequestError, match=r"speculation is on or off, got 'fixed:3'"):
        await answers(spec(llama, draft=str(near)), requests(1, extra={"speculation": "fixed:3"}))


@pytest.mark.usefixtures("always")
async def test_requests_with_and_without_it_are_served_side_by_side(llama: Path, near: Path) -> None:
    mixed = [replace(r, sampling=replace(r.sampling, extra={"speculation": i % 2 == 0}))
             for i, r in enumerate(requests(16, max_tokens=30))]  # fmt: skip
    found = await answers(spec(llama, draft=str(near)), mixed)
    assert told(found) == told(await answers(spec(llama), mixed))
    assert [answer.usage.drafted_tokens > 0 for answer in found] == [index % 2 == 0 for index in range(16)]


async def test_the_pace_decides_step_by_step_and_no_answer_shows_it(
    llama: Path, near: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = iter(range(100_000))
    monkeypatch.setattr(Pace, "drafts", lambda self, rows: next(turns) % 7 < 3)
    wanted = requests(24)
    found = await answers(spec(llama, draft=str(near)), wanted)
    assert told(found) == told(await answers(spec(llama), wanted))


@pytest.mark.usefixtures("always")
async def test_a_draft_with_a_shorter_context_stops_drafting_there(llama: Path, near: Path, tmp_path: Path) -> None:
    shutil.copytree(near, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text()) | {"max_position_embeddings": 40}
    (tmp_path / "config.json").write_text(json.dumps(config))
    wanted = requests(12, max_tokens=60, stop=())
    found = await answers(spec(llama, draft=str(tmp_path)), wanted)
    assert told(found) == told(await answers(spec(llama), wanted))


@pytest.mark.usefixtures("always")
async def test_a_draft_that_breaks_down_costs_no_answer(
    llama: Path, near: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(near, tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.norm.weight"][:] = float("nan")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    wanted = requests(6, max_tokens=20)
    found = await answers(spec(llama, draft=str(tmp_path)), wanted)
    assert told(found) == told(await answers(spec(llama), wanted))
    assert "speculation is off from here on" in caplog.text


@pytest.mark.usefixtures("always")
async def test_a_temperature_outside_the_heads_range_falls_back_to_a_rule_and_says_so_once(
    llama: Path, near: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = head_folder(tmp_path, low=0.0, high=1.0)
    wanted = requests(4, temperature=1.5, max_tokens=20)
    with caplog.at_level(logging.WARNING):
        found = await answers(spec(llama, draft=str(near), head=str(head)), wanted)
    assert caplog.text.count("trained for temperatures 0 to 1, not 1.5: logistic decides") == 1
    assert told(found) == told(await answers(spec(llama), wanted))
    assert sum(answer.usage.drafted_tokens for answer in found) > 0


@pytest.mark.usefixtures("always")
async def test_where_blocks_round_otherwise_nothing_is_drafted(
    llama: Path, near: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(local_probe, "block_invariant", lambda model: False)
    found = await answers(spec(llama, dtype="float32", draft=str(near)), requests(2, max_tokens=10))
    assert [answer.usage.drafted_tokens for answer in found] == [0, 0]
    assert "float32 rounds a block of tokens otherwise" in caplog.text


def test_the_check_of_blocks_sees_a_model_that_computes_them_otherwise(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archon.clients.local_attention import Span
    from archon.clients.local_loading import load_model
    from archon.clients.local_weights import read_config

    model = load_model(llama, read_config(llama), "float32")
    assert local_probe.block_invariant(model)  # type: ignore[arg-type]
    honest = Span._attend_blocks

    def rough(self: Span, data: Any, queries: Any, attended: Any) -> None:
        honest(self, data, queries, attended)
        attended *= 1 + 1e-6

    monkeypatch.setattr(Span, "_attend_blocks", rough)
    assert not local_probe.block_invariant(model)  # type: ignore[arg-type]


def test_mistakes_are_one_clear_line(llama: Path, near: Path, tmp_path: Path) -> None:
    wide = make_folder(tmp_path / "wide", vocab_size=400)
    renamed = tmp_path / "renamed"
    shutil.copytree(near, renamed)
    tokenizer = json.loads((renamed / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["another"] = tokenizer["model"]["vocab"].pop("a")
    (renamed / "tokenizer.json").write_text(json.dumps(tokenizer))
    narrow, draft = head_folder(tmp_path / "narrow", width=48), str(near)
    for options, words in (
        ({"draft": str(tmp_path / "nowhere")}, "no model at"),
        ({"draft": "zoo/nobody"}, "unknown zoo model 'nobody'"),
        ({"draft": str(wide)}, "both need one vocabulary"),
        ({"draft": str(renamed)}, "name their tokens differently"),
        ({"draft": draft, "head": str(tmp_path / "nohead")}, "no acceptance head"),
        ({"draft": draft, "head": str(narrow)}, "hidden state of 48 and draft"),
        ({"draft": draft, "speculation": "fastest"}, "unknown stop policy 'fastest'"),
        ({"draft": draft, "speculation": "fixed:many"}, "must be a number"),
        ({"draft": draft, "speculation": "specdec++"}, "needs an acceptance head"),
        ({"head": str(narrow)}, "needs a draft"),
        ({"speculation": "fixed:3"}, "needs a draft"),
    ):
        with pytest.raises(ConfigError) as caught:
            LocalClient.from_spec(spec(llama, **options))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


async def test_damaged_weights_of_a_draft_are_a_config_error(llama: Path, near: Path, tmp_path: Path) -> None:
    shutil.copytree(near, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="speculation: the weights at"):
        await answers(spec(llama, draft=str(tmp_path)), requests(1))


async def test_the_draft_is_loaded_with_the_model_and_not_before(llama: Path, near: Path) -> None:
    client = LocalClient.from_spec(spec(llama, draft=str(near)))
    assert "_engine" not in client.__dict__
    await client.complete(requests(1)[0])
    assert isinstance(client._engine._decoding, SpeculativeDecoding)
    await client.aclose()


def test_the_cache_knows_a_model_by_the_same_name_with_and_without_drafts(llama: Path, near: Path) -> None:
    names = {
        upstream_identity(row, LocalClient.neutral_options, LocalClient.from_spec(row).fingerprint)
        for row in (spec(llama), spec(llama, draft=str(near)), spec(llama, draft=str(near), speculation=False))
    }
    assert len(names) == 1


def test_what_accelerates_a_model_is_said_in_a_few_words(llama: Path, near: Path, tmp_path: Path) -> None:
    head = str(head_folder(tmp_path))
    assert accelerated_by(spec(llama)) == ""
    assert accelerated_by(ModelSpec(id="far", endpoint="http://localhost/v1")) == ""
    assert accelerated_by(spec(llama, draft=str(near))) == f"{near.name}, logistic"
    assert accelerated_by(spec(llama, draft=str(near), head=head)) == f"{near.name}, specdec++"
    assert accelerated_by(spec(llama, draft=str(near), speculation="fixed:5")) == f"{near.name}, fixed:5"
    assert accelerated_by(spec(llama, draft=str(near), speculation=False)) == "off"


def test_a_single_number_is_the_one_of_the_array() -> None:
    pairs = [(seed, step) for seed in (0, 1, 2**63, 2**64 - 1) for step in (0, 1, 77, 10**6)]
    expected = uniforms([seed for seed, _ in pairs], [step for _, step in pairs]).tolist()
    assert [uniform(*pair) for pair in pairs] == expected


def test_each_temperature_has_the_multiplier_that_was_tuned_for_it(tmp_path: Path) -> None:
    head = AcceptanceHead(HeadConfig(4, 1, stopping=Stopping(0.5, 1.2), cold=Stopping(0.5, 0.7), high=1.0))
    policy = _policies(Acceleration(tmp_path, tmp_path, None), head, Pace())
    found = {heat: policy(heat) for heat in (0.0, 0.3, 1.0)}
    assert [rule.multiplier for rule in found.values() if isinstance(rule, Paced)] == [0.7, 1.2, 1.2]
    assert all(rule.limit(1) == MOST_DRAFTED for rule in found.values())
    outside = policy(1.5)
    assert "head" not in outside.needs
    assert outside.limit(1) == MOST_DRAFTED


def test_a_named_rule_drafts_no_more_than_a_pass_takes(tmp_path: Path) -> None:
    for name in ("product:0.3", "fixed:99999"):
        assert _policies(Acceleration(tmp_path, None, name), None, Pace())(1.0).limit(1) == MOST_DRAFTED


def test_specdecpp_by_its_name_is_the_heads_own_rule(llama: Path, near: Path, tmp_path: Path) -> None:
    row = spec(llama, draft=str(near), head=str(head_folder(tmp_path)))
    named = row.model_copy(update={"options": {**row.options, "speculation": "specdec++"}})
    known = [acceleration(each, read_options(each, LocalOptions)) for each in (row, named)]
    assert known[0] == known[1] == Acceleration(near, tmp_path, None)
