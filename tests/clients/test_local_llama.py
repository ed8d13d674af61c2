"""The lean Llama against transformers' own, and against itself in company."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from archon.clients.local_llama import Llama
from archon.clients.local_pools import Pools, capacity_for
from archon.clients.local_probe import block_invariant, row_invariant
from archon.clients.local_weights import end_tokens, is_plain_llama, load_llama, read_config
from archon.errors import ConfigError
from tests.clients.local_models import grouped, llama, make_folder

__all__ = ["grouped", "llama"]  # fixtures


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def lean(folder: Path, dtype: torch.dtype = torch.float64) -> Llama:
    return load_llama(folder, read_config(folder), dtype)


def reference(folder: Path, dtype: torch.dtype = torch.float64) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


def tokens(count: int, start: int = 0) -> list[int]:
    return [(start + 37 * index + index * index) % 250 for index in range(count)]


# In transformers angles, cosines and the softmax of scores are float32 whatever the dtype: 1e-5 of logits near 10.
@pytest.mark.parametrize("name", ["llama", "grouped"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 2e-4), (torch.float32, 1e-3)])
def test_logits_are_those_of_transformers(
    name: str, dtype: torch.dtype, tolerance: float, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    wanted = reference(folder, dtype)(torch.tensor([tokens(90)])).logits[0]
    torch.testing.assert_close(lean(folder, dtype).logits(tokens(90), 0), wanted, atol=tolerance, rtol=0)
    torch.testing.assert_close(lean(folder, dtype).logits(tokens(90), 71), wanted[71:], atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", ["llama", "grouped"])
def test_rows_of_different_age_follow_their_own_prompts(name: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    model = lean(folder)
    whole = {count: tokens(count + 75, count) for count in (1, 30, 31, 32, 33, 70)}
    wanted = {count: model.logits(ids, 0) for count, ids in whole.items()}
    rows = {}
    for step in range(
        70
    ):  # every third step a new row joins, and rows cross from pool to pool at 32, 64, 96 and 128 tokens
        if step % 3 == 0 and step // 3 < len(whole):
            count = list(whole)[step // 3]
            prefix = model.prefill([whole[count][:count]])[0]
            torch.testing.assert_close(prefix.logits, wanted[count][count - 1], atol=1e-9, rtol=0)
            rows[count] = model.open(prefix, count)
        for count, row in rows.items():
            row.token = whole[count][row.length]
        for row, logits in zip(*model.advance(), strict=True):
            torch.testing.assert_close(logits, wanted[row.owner][row.length - 1], atol=1e-9, rtol=0)


def test_closing_a_row_leaves_the_others_as_they_were(llama: Path) -> None:
    model = lean(llama)
    prompts = [tokens(20 + index, index) for index in range(5)]
    rows = [model.open(prefix, index) for index, prefix in enumerate(model.prefill(prompts))]
    model.close(rows[1])
    model.close(rows[4])
    for row in rows:
        row.token = 9
    found = {row.owner: logits for row, logits in zip(*model.advance(), strict=True)}
    assert sorted(found) == [0, 2, 3]
    for index, logits in found.items():
        torch.testing.assert_close(logits, model.logits([*prompts[index], 9], 0)[-1], atol=1e-9, rtol=0)


def test_a_broken_row_leaves_nothing_behind_for_the_next(llama: Path) -> None:
    model = lean(llama)
    prefix = model.prefill([tokens(20)])[0]
    sick = model.open(prefix, "sick")
    sick.place.data[:, :, sick.index] = float("nan")
    model.close(sick, broken=True)
    row = model.open(prefix, "sound")
    row.token = 9
    _, logits = model.advance()
    torch.testing.assert_close(logits[0], model.logits([*tokens(20), 9], 0)[-1], atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", ["llama", "grouped"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_give_the_same_bits_alone_and_in_company(
    name: str, dtype: torch.dtype, request: pytest.FixtureRequest
) -> None:
    if dtype is torch.float32 and not row_invariant(lean(request.getfixturevalue("llama"), dtype)):
        pytest.skip("this machine's BLAS does not treat rows alike in float32; the client then computes in float64")
    model = lean(request.getfixturevalue(name), dtype)
    prompts = [tokens(length, length) for length in (1, 5, 16, 31, 33, 64, 100, 100, 2, 7, 9, 11, 12, 13, 14, 15, 17)]
    together = model.prefill(prompts)
    for prompt, prefix in zip(prompts, together, strict=True):
        alone = model.prefill([prompt])[0]
        torch.testing.assert_close(prefix.logits, alone.logits, atol=0 if dtype is torch.float32 else 1e-12, rtol=0)


def test_the_check_of_row_invariance_sees_a_model_that_mixes_rows(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lean(llama)
    honest = model._head
    monkeypatch.setattr(model, "_head", lambda x: honest(x) + x.abs().max() * 1e-12)
    assert not row_invariant(model)


def test_capacities_leave_room_and_little_waste() -> None:
    for length in range(1, 5000):
        capacity = capacity_for(length)
        assert length < capacity <= length + max(32, length / 4 + 1)
        assert capacity_for(capacity) > capacity


def test_a_large_pool_gives_its_memory_back_when_it_is_empty(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from archon.clients import local_pools

    monkeypatch.setattr(
        local_pools, "_KEPT_BYTES", 200_000
    )  # a place takes 2 layers × 2 × 2 heads × 32 × 32 × 8 = 65,536
    model = lean(llama)
    prefix = model.prefill([tokens(10)])[0]
    rows = [model.open(prefix, None) for _ in range(9)]
    pool = rows[0].place
    assert pool.data.shape[2] == 16
    for row in rows:
        model.close(row)
    assert pool.data.shape[2] == 4


def test_pools_keep_every_row_when_they_grow(llama: Path) -> None:
    model = lean(llama)
    pools = Pools(2, 2, 32, torch.float64)
    prefixes = model.prefill([tokens(10, index) for index in range(11)])
    rows = [model.open(prefix, None) for prefix in prefixes]
    for row, prefix in zip(rows, prefixes, strict=True):
        pools.add(row, prefix.cache)
    for row, prefix in zip(rows, prefixes, strict=True):
        assert torch.equal(row.place.cache(row), prefix.cache)


def test_other_architectures_are_not_taken_for_a_plain_llama(llama: Path) -> None:
    config = dict(read_config(llama))
    assert is_plain_llama(config)
    for change in (
        {"architectures": ["MistralForCausalLM"]},
        {"attention_bias": True},
        {"mlp_bias": True},
        {"hidden_act": "gelu"},
        {"quantization_config": {"bits": 4}},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}},
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
    ):
        assert not is_plain_llama(config | change)


def test_end_tokens_come_from_the_generation_settings_first(tmp_path: Path) -> None:
    assert end_tokens(tmp_path, {"eos_token_id": 1}) == {1}
    assert end_tokens(tmp_path, {}) == set()
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [2, 3]}')
    assert end_tokens(tmp_path, {"eos_token_id": 1}) == {2, 3}
    (tmp_path / "generation_config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"generation_config\.json"):
        end_tokens(tmp_path, {})


def test_damaged_folders_are_told_in_one_line(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    config = read_config(folder)
    with pytest.raises(ConfigError, match="do not match") as caught:
        load_llama(folder, dict(config) | {"num_hidden_layers": 3}, torch.float32)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="do not match"):
        load_llama(folder, dict(config) | {"num_attention_heads": 3}, torch.float32)
    (folder / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(ConfigError, match="weights cannot be read"):
        load_llama(folder, config, torch.float32)
    (folder / "config.json").write_text("[1]")
    with pytest.raises(ConfigError, match="a JSON object"):
        read_config(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"no config\.json"):
        read_config(folder)
    with pytest.raises(ConfigError, match="does not exist"):
        read_config(tmp_path / "nowhere")


def test_weights_in_several_files_are_read(tmp_path: Path) -> None:
    import json

    from safetensors.torch import load_file, save_file

    folder = make_folder(tmp_path / "model")
    whole = lean(folder).logits(tokens(5), 0)
    weights = load_file(folder / "model.safetensors")
    parts = {"a.safetensors": dict(list(weights.items())[:3]), "b.safetensors": dict(list(weights.items())[3:])}
    for name, part in parts.items():
        save_file(part, folder / name)
    (folder / "model.safetensors").unlink()
    places = {key: name for name, part in parts.items() for key in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert torch.equal(lean(folder).logits(tokens(5), 0), whole)


def held_by_float16(folder: Path, unit: float) -> Path:
    """The model with weights that float16 holds; those after a norm once divided by `unit`, which the gain undoes."""
    from safetensors.torch import load_file, save_file

    after = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "lm_head")
    found = {}
    for name, weight in load_file(folder / "model.safetensors").items():
        scale = unit if any(part in name for part in after) else 1.0
        found[name] = weight / unit if "norm" in name else weight.half().float() * scale
    save_file(found, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("unit", [1.0, 2.0**-24])
@pytest.mark.parametrize("heads", [2, 4])
def test_products_from_float16_give_transformers_logits_and_a_row_the_same_bits(
    unit: float, heads: int, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "m", num_attention_heads=heads, tie_word_embeddings=False)
    model = lean(held_by_float16(folder, unit), torch.float32)
    wanted = reference(folder, torch.float32)(torch.tensor([tokens(40)])).logits[0]
    torch.testing.assert_close(model.logits(tokens(40), 0), wanted, atol=1e-3, rtol=0)
    if not model._exact:
        pytest.skip("torch has no product with float16 weights here")
    assert row_invariant(model)
    assert block_invariant(model)
    # Up to sixteen rows have no others beside them, more have: no difference to any.
    seen = [_after_one_more(model, rows) for rows in (1, 2, 15, 16, 17, 40)]
    assert all(torch.equal(logits[: len(seen[-1])], seen[-1][: len(logits)]) for logits in seen)


def _after_one_more(model: Llama, count: int) -> torch.Tensor:
    rows = [model.open(prefix, i) for i, prefix in enumerate(model.prefill([tokens(20, i) for i in range(count)]))]
    for row in rows:
        row.token = 9
    found = {row.owner: logits for row, logits in zip(*model.advance(), strict=True)}
    for row in rows:
        model.close(row)
    return torch.stack([found[i] for i in range(count)])


def test_a_model_in_bfloat16_is_near_to_itself_in_float32(llama: Path) -> None:
    exact, rough = (lean(llama, dtype).logits(tokens(40), 0).float() for dtype in (torch.float32, torch.bfloat16))
    wanted = reference(llama, torch.bfloat16)(torch.tensor([tokens(40)])).logits[0].float()
    # Not farther off than transformers' own forward in bfloat16, by half again.
    assert (rough - exact).norm() < 1.5 * (wanted - exact).norm()


def test_sizes_are_those_of_the_weights_whatever_the_configuration_says(llama: Path) -> None:
    config = dict(read_config(llama)) | {"vocab_size": 7, "intermediate_size": 11}
    found = load_llama(llama, config, torch.float32).logits(tokens(9), 0)
    assert torch.equal(found, lean(llama, torch.float32).logits(tokens(9), 0))
