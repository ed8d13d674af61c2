"""Growing: a deeper model starts with the function of the one it is grown from, in another vocabulary as well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from archon import zoo
from archon.zoo.recipes import Recipe, recipe

torch = pytest.importorskip("torch", reason="training needs the extra [local]")
pytestmark = pytest.mark.skipif("clerk" not in zoo.names(), reason="the zoo's models are not here")

QUESTION = "A shop sells 12 lamps. How many lamps are left of 30?"


def _grown(**changes: object) -> Recipe:
    from_clerk = replace(recipe("captain"), layers=6, grown_from="clerk", vocabulary=512)
    return replace(from_clerk, **changes)  # type: ignore[arg-type]


def test_a_deeper_model_says_at_first_what_the_smaller_one_says() -> None:
    from transformers import LlamaForCausalLM

    from archon.zoo.network import new_model
    from archon.zoo.vocabulary import Vocabulary

    small = LlamaForCausalLM.from_pretrained(zoo.path("clerk"), dtype=torch.float32).eval()
    deep = new_model(_grown()).eval()
    ids = torch.tensor([Vocabulary.load(zoo.path("clerk")).plain(QUESTION)])
    with torch.no_grad():
        torch.testing.assert_close(deep(input_ids=ids).logits, small(input_ids=ids).logits, rtol=1e-4, atol=1e-4)


def test_a_token_starts_as_the_mean_of_those_that_spelt_it() -> None:
    from transformers import LlamaForCausalLM

    from archon.zoo.network import new_model
    from archon.zoo.vocabulary import Vocabulary, build

    known = Vocabulary.load(zoo.path("clerk"))
    other = Vocabulary(build(lessons=400, size=700, texts=("ledger", "minicode")))
    old = LlamaForCausalLM.from_pretrained(zoo.path("clerk"), dtype=torch.float32).model.embed_tokens.weight.detach()
    new = new_model(_grown(vocabulary=700), other).model.embed_tokens.weight.detach()
    assert new.shape == (700, old.shape[1])
    names = known.tokenizer.get_vocab()
    for name, token in other.tokenizer.get_vocab().items():
        expected = old[[names[name]] if name in names else known.plain(other.decode([token]))].mean(0)
        torch.testing.assert_close(new[token], expected)
    # Both know the word `return` by heart only where they have met code.
    assert len(other.plain("return ")) < len(known.plain("return "))


def test_a_vocabulary_of_both_families_spells_each_about_as_well_as_its_own() -> None:
    import random

    from archon.zoo.ledger import draw_problem
    from archon.zoo.minicode import draw_task
    from archon.zoo.vocabulary import Vocabulary, build

    rng = random.Random(5)
    texts = {
        "ledger": [draw_problem(rng, largest=300).question for _ in range(50)],
        "minicode": [draw_task(rng).question for _ in range(50)],
    }
    both = Vocabulary(build(lessons=2000, size=1024, texts=tuple(texts)))
    for family, asked in texts.items():
        own = Vocabulary(build(lessons=2000, size=1024, texts=(family,)))
        assert sum(len(both.plain(text)) for text in asked) < 1.15 * sum(len(own.plain(text)) for text in asked)


def test_a_smaller_model_starts_with_the_ends_of_the_deeper_one() -> None:
    from transformers import LlamaForCausalLM

    from archon.zoo.network import new_model, shrink

    deep = LlamaForCausalLM.from_pretrained(zoo.path("clerk"), dtype=torch.float32)
    small = new_model(replace(recipe("clerk"), layers=2))
    shrink(deep, small)
    mine, known = small.state_dict(), deep.state_dict()
    for name, tensor in mine.items():
        # Of the four layers the first and the last.
        torch.testing.assert_close(tensor, known[name.replace("layers.1.", "layers.3.")], rtol=0, atol=0)
