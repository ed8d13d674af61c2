"""The shipped folders: complete, within bounds, what their records say."""

import json
from pathlib import Path

import pytest

import archon.zoo
from archon.errors import UnknownNameError
from archon.zoo.export import digest
from archon.zoo.recipes import RECIPES

NAMES = archon.zoo.names()
# What a model of each family is asked, and what its answer must hold; a draft has no skill of its own.
QUESTIONS = {
    "ledger": ("Ann has 24 pens. Then 13 are sold. A friend gives 5. How many pens are left?", "answer"),
    "minicode": ("f(xs): add them up, then add 3. f([1, 2]) == 6 ; f([]) == 3 ; f([5]) == 8", "def f(xs): return "),
    "draft": ("Ann has 24 pens. Then 13 are sold. A friend gives 5. How many pens are left?", ""),
}


def test_the_shipped_models_are_those_of_the_recipes() -> None:
    assert set(NAMES) == set(RECIPES)


def test_all_files_together_are_at_most_25_megabytes() -> None:
    files = [file for name in NAMES for file in archon.zoo.path(name).rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 25_000_000


def test_an_unknown_model_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=NAMES[0]):
        archon.zoo.path("nobody")


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_the_recorded_ones(name: str) -> None:
    entry = archon.zoo.model(name)
    assert entry.name == name
    assert digest(archon.zoo.path(name)) == entry.sha256


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_loads_in_transformers_and_answers(name: str) -> None:
    transformers = pytest.importorskip("transformers", reason="loading models needs the extra [local]")
    from archon.zoo.vocabulary import Vocabulary

    folder, entry = archon.zoo.path(name), archon.zoo.model(name)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.num_parameters() == entry.parameters
    assert model.config.max_position_embeddings == entry.context >= 1024
    assert model.config.head_dim % 32 == 0
    for question, expected in (QUESTIONS[family] for family in entry.family.split("+")):
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": question}], return_tensors="pt")
        said = model.float().generate(**prompt, do_sample=False, max_new_tokens=60)[0].tolist()
        assert said[-1] == tokenizer.eos_token_id or entry.family == "draft"
        assert expected in Vocabulary.load(folder).decode(said)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_made_by_its_recipe(name: str) -> None:
    entry, made_by = archon.zoo.model(name), RECIPES[name]
    assert (entry.seed, entry.steps) == (made_by.seed, made_by.steps)


def test_models_of_one_vocabulary_size_share_the_vocabulary() -> None:
    stored = [json.loads((archon.zoo.path(name) / "tokenizer.json").read_text()) for name in NAMES]
    for name, one in zip(NAMES, stored, strict=True):
        assert len(one["model"]["vocab"]) == RECIPES[name].vocabulary
    for size in {RECIPES[name].vocabulary for name in NAMES}:
        alike = [one["model"] for name, one in zip(NAMES, stored, strict=True) if RECIPES[name].vocabulary == size]
        assert all(one == alike[0] for one in alike)
    # The special tokens are at the same places everywhere.
    assert all(one["added_tokens"] == stored[0]["added_tokens"] for one in stored)


def test_prices_grow_with_parameters() -> None:
    entries = sorted(map(archon.zoo.model, NAMES), key=lambda entry: entry.parameters)
    prices = [entry.usd_per_million_tokens for entry in entries]
    assert prices == sorted(prices)
    # A million parameters cost 0.10 USD per million tokens.
    assert prices[0] == pytest.approx(entries[0].parameters / 1e6 * 0.1)


def test_the_card_records_the_shipped_weights() -> None:
    card = (Path(archon.zoo.__file__).parent / "README.md").read_text()
    assert all(archon.zoo.model(name).sha256 in card for name in NAMES)
