"""Tiny model folders with random weights, made once for all tests of the local client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

WORDS = (
    "Ann has three apples and buys four more. How many apples does she have now? The answer is seven. <stop> ünïcödé"
)
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_folder(folder: Path, *, chat: bool = True, **changes: Any) -> Path:
    """A Llama folder: 2 layers, hidden 64, head_dim 32, byte-level tokenizer; `changes` go to its configuration."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    size = _save_tokenizer(folder, chat)
    settings: dict[str, Any] = {
        "vocab_size": size, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "head_dim": 32,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 256, "tie_word_embeddings": True,
        "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0, "initializer_range": 0.3,
    }  # fmt: skip
    torch.manual_seed(7)
    model = LlamaForCausalLM(LlamaConfig(**settings | changes))
    for name, parameter in model.named_parameters():
        if "norm" in name:  # so that folding norm weights into matrices is put to the test
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    model.save_pretrained(folder)
    return folder


def _save_tokenizer(folder: Path, chat: bool) -> int:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|eos|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=special,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([WORDS] * 3, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=special[0], eos_token=special[1])
    fast.chat_template = TEMPLATE if chat else None
    folder.mkdir(parents=True, exist_ok=True)
    fast.save_pretrained(folder)
    return int(tokenizer.get_vocab_size())


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many key heads as query heads, tied embeddings: the form of the zoo's models."""
    return make_folder(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grouped queries, an output matrix of its own, another rotation base, no chat template."""
    return make_folder(
        tmp_path_factory.mktemp("grouped"),
        chat=False,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    )
