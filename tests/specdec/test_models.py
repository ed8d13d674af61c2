"""Our forward passes against transformers' own, cached and ragged; folders; greedy text against `generate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from specdec import Sampling, SpecDecError, SpecDecoder
from specdec.halves import Halves
from specdec.llama import LeanLlama
from specdec.models import LanguageModel, Loaded, feed, load, read, wrap
from specdec.transformers_model import TransformersModel

SEQUENCES = [[5, 6, 7, 8, 9, 10, 11, 12], [20, 21, 22, 23, 24, 25], [30, 31, 32, 33, 34, 35, 36, 37, 38, 39]]
SHAPE = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SHAPE |= {"intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": 96}


def llama(seed: int = 0, dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    torch.manual_seed(seed)
    settings = {"bos_token_id": 1, "eos_token_id": None, **SHAPE, **changes}
    # A wide initialisation: with the default one every logit of a random model is nearly equal.
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(initializer_range=0.4, **settings)).to(dtype).eval()


def qwen() -> Any:
    torch.manual_seed(1)
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SHAPE)).eval()


LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 24,
}
MAKERS: dict[str, Callable[[], tuple[Any, LanguageModel]]] = {
    "lean": lambda: _wrapped(llama()),
    "lean-float64": lambda: _wrapped(llama(dtype=torch.float64)),
    "lean-llama3-rope": lambda: _wrapped(llama(rope_parameters=LLAMA3_ROPE)),
    "lean-tied": lambda: _wrapped(llama(tie_word_embeddings=True)),
    "transformers-llama": lambda: (model := llama(), TransformersModel(model, "llama")),
    "transformers-qwen2": lambda: _wrapped(qwen()),
    "transformers-bias": lambda: _wrapped(llama(attention_bias=True)),
}


def _wrapped(model: Any) -> tuple[Any, LanguageModel]:
    return model, wrap(model, "model")


def reference(model: Any, tokens: list[int]) -> torch.Tensor:
    logits: torch.Tensor = model(torch.tensor([tokens])).logits[0]
    return logits


@torch.inference_mode()
@pytest.mark.parametrize("kind", MAKERS)
def test_cached_ragged_passes_give_transformers_logits(kind: str) -> None:
    theirs, ours = MAKERS[kind]()
    assert isinstance(ours, LeanLlama) == kind.startswith("lean")
    cache = ours.new_cache()
    rows = [cache.add_row() for _ in SEQUENCES]
    pieces = [feed(ours, cache, rows, [SEQUENCES[0][:3], SEQUENCES[1][:5], SEQUENCES[2][:1]])]
    # Wrong tokens, rolled back: nothing of them may be left. Then a subset of rows, then a single one.
    feed(ours, cache, [0, 2], [[49, 48, 47], [46]])
    cache.roll_back(0, 3)
    cache.roll_back(2, 1)
    pieces.append(feed(ours, cache, [0, 2], [SEQUENCES[0][3:], SEQUENCES[2][1:4]]))
    pieces.append(feed(ours, cache, [1, 2], [SEQUENCES[1][5:], SEQUENCES[2][4:5]]))
    pieces.append(feed(ours, cache, [2], [SEQUENCES[2][5:]]))
    found = [ours.logits(piece) for piece in pieces]
    rows_found = (
        torch.cat([found[0][:3], found[1][:5]]),
        torch.cat([found[0][3:8], found[2][:1]]),
        torch.cat([found[0][8:9], found[1][5:8], found[2][1:2], found[3]]),
    )
    for tokens, logits in zip(SEQUENCES, rows_found, strict=True):
        assert torch.allclose(logits, reference(theirs, tokens), atol=2e-5, rtol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("chosen", [(1,), (0, 1, 2)])
def test_what_was_read_is_seen_by_what_follows(kind: str, chosen: tuple[int, ...]) -> None:
    theirs, ours = MAKERS[kind]()
    cache = ours.new_cache()
    rows = [cache.add_row() for _ in chosen]
    texts = [SEQUENCES[at] for at in chosen]
    read(ours, cache, rows, [text[:-2] for text in texts])
    found = ours.logits(feed(ours, cache, rows, [text[-2:] for text in texts]))
    expected = torch.cat([reference(theirs, text)[-2:] for text in texts])
    assert torch.allclose(found, expected, atol=2e-5, rtol=1e-4)


def test_rows_that_leave_hand_their_place_to_the_last() -> None:
    model = wrap(llama(), "model")
    with torch.inference_mode():
        cache = model.new_cache()
        feed(model, cache, [cache.add_row() for _ in range(3)], [tokens[:5] for tokens in SEQUENCES])
        cache.drop_row(0)
        moved = model.logits(feed(model, cache, [0], [SEQUENCES[2][5:6]]))
        alone = model.new_cache()
        fresh = model.logits(feed(model, alone, [alone.add_row()], [SEQUENCES[2][:6]])[-1:])
    assert cache.lengths == [6, 5]
    assert torch.allclose(moved, fresh, atol=1e-5)


@pytest.mark.parametrize("policy", ["off", "fixed:4", "product:0.3", "heuristic"])
def test_greedy_text_is_that_of_transformers_generate(policy: str) -> None:
    target, draft = llama(0, torch.float64), llama(0, torch.float64, num_hidden_layers=1)
    expected = [
        model_output[len(prompt) :]
        for prompt in SEQUENCES
        for model_output in target.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), do_sample=False, max_new_tokens=30
        ).tolist()
    ]
    pair = [Loaded(wrap(model, "model"), None, None, frozenset()) for model in (target, draft)]
    decoder = SpecDecoder(pair[0], pair[1] if policy != "off" else None, policy)
    found = decoder.generate(SEQUENCES, Sampling(temperature=0, max_tokens=30))
    assert [list(result.tokens) for result in found] == expected


def test_a_folder_is_loaded_with_its_special_tokens(tmp_path: Path) -> None:
    llama(eos_token_id=[2, 3]).save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert (loaded.bos, loaded.eos, loaded.tokenizer) == (1, frozenset({2, 3}), None)
    assert (loaded.model.vocab, loaded.model.width, loaded.model.context) == (50, 32, 96)
    assert SpecDecoder(tmp_path, tmp_path, "fixed:2").generate([[4]], Sampling(temperature=0, max_tokens=3))


def test_a_folder_without_weights_is_refused_in_one_line(tmp_path: Path) -> None:
    llama().config.save_pretrained(tmp_path)
    with pytest.raises(SpecDecError, match="as a causal language model") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_model_with_a_sliding_window_is_refused() -> None:
    config = transformers.MistralConfig(**SHAPE, sliding_window=8)
    with pytest.raises(SpecDecError, match="does not attend to its whole past"):
        wrap(transformers.MistralForCausalLM(config), "mistral")


TINY = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def test_a_model_that_scales_its_logits_afterwards_is_refused() -> None:
    torch.manual_seed(0)
    config = transformers.GraniteConfig(**TINY, intermediate_size=48, num_key_value_heads=4, logits_scaling=8.0)
    with pytest.raises(SpecDecError, match="does more to its logits than its output layer"):
        wrap(transformers.GraniteForCausalLM(config).eval(), "granite")


def test_padding_past_the_context_of_learnt_positions_does_no_harm() -> None:
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=32)
    loaded = Loaded(wrap(transformers.GPT2LMHeadModel(config).eval(), "gpt2"), None, None, frozenset())
    prompts, sampling = [list(range(30)), [1, 2, 3]], Sampling(temperature=0, max_tokens=20)
    drafted = SpecDecoder(loaded, loaded, "fixed:8").generate(prompts, sampling)
    assert [len(result.tokens) for result in drafted] == [2, 20]
    assert [result.tokens for result in drafted] == [r.tokens for r in SpecDecoder(loaded).generate(prompts, sampling)]


def test_half_precision_leaves_the_model_in_float32() -> None:
    made = wrap(llama().to(torch.bfloat16), "half")
    with torch.inference_mode():
        cache = made.new_cache()
        hidden = feed(made, cache, [cache.add_row()], [SEQUENCES[0]])
    assert (made.dtype, hidden.dtype, made.logits(hidden).dtype) == (torch.float32,) * 3


def test_a_damaged_file_is_named_in_one_line(tmp_path: Path) -> None:
    llama().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"short")
    with pytest.raises(SpecDecError, match="cannot load") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def of_halves(unit: float, **changes: Any) -> Any:
    """A Llama whose weights float16 holds; those after a norm once divided by `unit`, which the gain undoes."""
    model = llama(tie_word_embeddings=False, max_position_embeddings=96, **changes)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.uniform_(0.5, 1.5).div_(unit)
            elif any(part in name for part in ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "lm_head")):
                weight.copy_(weight.half().float() * unit)
            else:
                weight.copy_(weight.half().float())
    return model


@pytest.mark.parametrize("unit", [1.0, 2.0**-24])
@pytest.mark.parametrize("kv_heads", [2, 4])
def test_products_from_float16_give_transformers_logits(unit: float, kv_heads: int) -> None:
    model = of_halves(unit, num_key_value_heads=kv_heads)
    ours = wrap(model, "halves")
    units = {product.unit for block in ours._blocks for product in (block.qkv, block.gate_up)}  # type: ignore[attr-defined]
    if Halves.of(torch.ones(8, 8)) is not None:
        assert all(isinstance(block.qkv, Halves) for block in ours._blocks)  # type: ignore[attr-defined]
        assert (units == {1.0}) == (unit == 1.0)
    with torch.inference_mode():
        cache = ours.new_cache()
        row = cache.add_row()
        found = [ours.logits(feed(ours, cache, [row], [piece])) for piece in (SEQUENCES[2][:5], SEQUENCES[2][5:])]
        expected = model(torch.tensor([SEQUENCES[2]])).logits[0]
    assert torch.allclose(torch.cat(found), expected, atol=1e-3)


def test_a_gain_that_makes_a_weight_one_of_float16_leaves_no_unit_behind() -> None:
    model = llama(hidden_size=64, num_attention_heads=4)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.input_layernorm.weight.fill_(3.0)
            for one in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj):
                # Three times a third is whole again in float32.
                one.weight.copy_(one.weight.half().float() * 2.0**-40 / 3)
    with torch.inference_mode():
        ours = wrap(model, "thirds")
        cache = ours.new_cache()
        found = ours.logits(feed(ours, cache, [cache.add_row()], [SEQUENCES[2]]))
        expected = model(torch.tensor([SEQUENCES[2]])).logits[0]
    assert torch.allclose(found, expected, atol=1e-3)
