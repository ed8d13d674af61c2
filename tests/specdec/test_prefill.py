"""Prefilling ends with every row read, however long the prompts are."""

import pytest
import torch

import specdec.prefill
from specdec.params import Sampling
from specdec.policies.fixed import Fixed
from specdec.prefill import prefill
from tests.specdec.tiny import TableModel, make_row


@pytest.mark.parametrize("lengths", [(9,), (9, 9), (3, 20), (1, 4, 9, 21)])
def test_rows_longer_than_two_pieces_are_read_to_their_last_token_but_one(
    lengths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(specdec.prefill, "_PIECE", 4)
    monkeypatch.setattr(specdec.prefill, "_GROUP", 16)
    model = TableModel(0)
    cache = model.new_cache()
    prompts = [[(n + place) % 3 for n in range(length)] for place, length in enumerate(lengths)]
    rows = [make_row(prompt, Sampling(max_tokens=1), Fixed(1)) for prompt in prompts]
    at = [cache.add_row() for _ in rows]
    with torch.inference_mode():
        prefill(model, cache, rows, at)
    assert [cache.lengths[index] for index in at] == [length - 1 for length in lengths]
