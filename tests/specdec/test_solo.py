"""A row that decodes alone drafts what it would in company, and its policy is told the same."""

from __future__ import annotations

import math

import pytest
import torch

from specdec.head import AcceptanceHead
from specdec.head_config import HeadConfig
from specdec.head_predictor import predictor_of
from specdec.params import Sampling
from specdec.policies import make
from specdec.propose import Proposer
from specdec.rows import Draft, Row
from specdec.signals import Predictor
from tests.specdec.tiny import TableModel, make_row

SAMPLINGS = {
    "T0": Sampling(temperature=0, max_tokens=12, seed=3),
    "T0-penalty": Sampling(temperature=0, repetition_penalty=1.8, max_tokens=12, seed=3),
    "T1": Sampling(temperature=1, max_tokens=12, seed=3),
    "T0.7-k3-p0.9-penalty": Sampling(
        temperature=0.7, top_k=3, top_p=0.9, repetition_penalty=1.4, max_tokens=12, seed=3
    ),
}
POLICIES = ("fixed:6", "product:0.02", "svip:3", "adaedl:0.1", "logistic:0.1", "specdec++:0.99")


def ready(depth: int) -> Predictor:
    """A head with no weight left at zero, which is asked about tokens of q < 0.5."""
    head, generator = AcceptanceHead(HeadConfig(4, depth, sure=0.5)), torch.Generator().manual_seed(1)
    for parameter in head.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 3
    return predictor_of(head.eval(), torch.float64, torch.device("cpu"))


def drafted(policy: str, sampling: Sampling, head: Predictor, *, beside: int) -> Draft:
    """What is drafted for a row in its second round, among so many others."""
    row = make_row((0, 2, 1), sampling, make(policy))
    others = [make_row((1,) * (2 + i), sampling, make("fixed:3"), index=1 + i) for i in range(beside)]
    proposer = Proposer(TableModel(2, vocab=8), head)
    proposer.add([row, *others])
    for draft, one in zip(proposer.propose(), (row, *others), strict=True):
        one.tokens += draft.tokens[:1]
    proposer.roll_back()
    return proposer.propose()[0]


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", SAMPLINGS)
def test_a_row_alone_drafts_what_it_would_in_company(name: str, policy: str, depth: int) -> None:
    alone, among = (drafted(policy, SAMPLINGS[name], ready(depth), beside=count) for count in (0, 2))
    assert len(alone.tokens) > 1
    assert alone.tokens == among.tokens
    assert len(alone.q) == len(among.q) == (0 if name.startswith("T0-") or name == "T0" else len(alone.tokens))
    assert all(torch.allclose(one, other, atol=1e-12) for one, other in zip(alone.q, among.q, strict=True))
    for one, other in zip(alone.trail, among.trail, strict=True):
        assert one == pytest.approx(other, abs=1e-9)


def test_what_a_policy_does_not_read_is_not_told() -> None:
    (first, *_) = drafted("fixed:6", SAMPLINGS["T1"], ready(0), beside=0).trail
    assert first == (1.0, 1.0, 0.0, 1.0)
    (first, *_) = drafted("svip:3", SAMPLINGS["T1"], ready(0), beside=0).trail
    assert first.entropy > 0


def test_the_head_is_told_the_place_and_the_temperature() -> None:
    told = list[tuple[int, float]]()

    class Asked:
        needs = ready(0).needs

        def known(self, token_prob: float, temperature: float) -> None:
            return None

        def predict_one(self, hidden: torch.Tensor, found: object, place: int, temperature: float) -> float:
            told.append((place, temperature))
            return 1 - 0.1 / place

    proposer = Proposer(TableModel(2, vocab=8), Asked())  # type: ignore[arg-type]
    row: Row = make_row((0, 2, 1), Sampling(temperature=0.7, max_tokens=9, seed=1), make("specdec++:1,maximum=4"))
    proposer.add([row])
    (draft,) = proposer.propose()
    assert told == [(place, 0.7) for place in (1, 2, 3, 4)]
    assert math.isclose(draft.trail[1].accept, 0.95)
