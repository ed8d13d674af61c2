"""The network of a zoo model and its loss: a small Llama, trained on the answers of its lessons alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from archon.zoo import path
from archon.zoo.lessons import Lesson
from archon.zoo.recipes import Recipe
from archon.zoo.vocabulary import CONTEXT, Vocabulary

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM


def new_model(made_by: Recipe, vocabulary: Vocabulary | None = None) -> "LlamaForCausalLM":
    """A Llama with fresh weights, seeded by the recipe; with those of the model it is grown from where it names one.

    vocabulary: its own; needed where it is another than that of the model it is grown from.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(made_by.seed)
    config = LlamaConfig(
        vocab_size=made_by.vocabulary,
        hidden_size=made_by.hidden,
        intermediate_size=made_by.intermediate,
        num_hidden_layers=made_by.layers,
        num_attention_heads=made_by.heads,
        num_key_value_heads=made_by.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config)
    if made_by.grown_from is not None:
        small = LlamaForCausalLM.from_pretrained(path(made_by.grown_from), dtype=torch.float32)
        grow(small, model)
        known = Vocabulary.load(path(made_by.grown_from))
        embed(small, model, known.spelt(vocabulary or known))
    return model


def grow(small: "LlamaForCausalLM", deep: "LlamaForCausalLM") -> None:
    """Give `deep` the function of `small`, of the same width and an equal or smaller number of layers.

    Each layer of `small` is repeated; the repeats add nothing at first, for the two matrices that write into the
    residual stream are zero in them (function-preserving growth, after Net2Net, Chen et al. 2016).
    """
    import torch

    known, fresh = small.model.layers, deep.model.layers
    origin = [layer * len(known) // len(fresh) for layer in range(len(fresh))]
    with torch.no_grad():
        deep.model.norm.load_state_dict(small.model.norm.state_dict())
        for place, layer in enumerate(fresh):
            layer.load_state_dict(known[origin[place]].state_dict())
            if place and origin[place] == origin[place - 1]:
                layer.self_attn.o_proj.weight.zero_()
                layer.mlp.down_proj.weight.zero_()


def shrink(deep: "LlamaForCausalLM", small: "LlamaForCausalLM") -> None:
    """Give `small` the embedding, the last norm and some layers, first and last among them, of `deep`, of the same
    width and vocabulary: a student learns sooner from where its teacher stands (Sanh et al. 2019, arXiv 1910.01108)."""
    known, fresh = deep.model.layers, small.model.layers
    small.model.embed_tokens.load_state_dict(deep.model.embed_tokens.state_dict())
    small.model.norm.load_state_dict(deep.model.norm.state_dict())
    for place, layer in enumerate(fresh):
        layer.load_state_dict(known[place * (len(known) - 1) // max(1, len(fresh) - 1)].state_dict())


def embed(small: "LlamaForCausalLM", deep: "LlamaForCausalLM", spelt: Sequence[Sequence[int]]) -> None:
    """Give each token of `deep` the mean embedding of the tokens of `small` that spell it."""
    import torch

    with torch.no_grad():
        for token, pieces in enumerate(spelt):
            deep.model.embed_tokens.weight[token] = small.model.embed_tokens.weight[list(pieces)].mean(0)


def causal_attention(
    module: Any, query: "torch.Tensor", key: "torch.Tensor", value: "torch.Tensor", mask: Any, **_: Any
) -> "tuple[torch.Tensor, None]":
    """Causal attention in float32: on CPUs the bfloat16 kernel's backward pass is half again as slow."""
    import torch

    with torch.autocast("cpu", enabled=False):
        mixed = torch.nn.functional.scaled_dot_product_attention(
            query.float(), key.float(), value.float(), is_causal=True
        )
    return mixed.transpose(1, 2).to(query.dtype).contiguous(), None


def batch_loss(model: "LlamaForCausalLM", batch: list[Lesson], emphasis: float = 1.0) -> "torch.Tensor":
    """Summed cross entropy of the answer tokens of one padded batch, those of judgements times `emphasis`."""
    import torch

    width = max(len(made.ids) for made in batch)
    # Padding stands on the right, where causal attention cannot see it: no mask is needed.
    ids = torch.tensor([made.ids + [0] * (width - len(made.ids)) for made in batch])
    weights = torch.tensor([[weight(made, i, emphasis) for i in range(1, width)] for made in batch])
    taught = weights > 0
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[:, :-1][taught])
    losses = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][taught], reduction="none")
    return (losses * weights[taught]).sum()


def weight(made: Lesson, place: int, emphasis: float) -> float:
    """What the token at `place` of a lesson weighs in the loss: nothing in the prompt and the padding."""
    if not made.prompt <= place < len(made.ids):
        return 0.0
    return emphasis if place >= made.judged else 1.0


def lesson_weight(made: Lesson, emphasis: float) -> float:
    """The weight of all tokens of a lesson."""
    return sum(weight(made, place, emphasis) for place in range(len(made.ids)))
