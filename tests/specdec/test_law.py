"""The law of what is decoded equals the target's, enumerated without noise, for every policy, warper, batch and
dtype."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from specdec.decode import Batch
from specdec.params import Sampling
from specdec.policies import make
from specdec.propose import Proposer
from specdec.rows import Draft
from specdec.solo import Solo
from tests.specdec.tiny import Law, StubHead, TableModel, Tape, distance, enumerate_law, make_row, run_rows, target_law

POLICIES = (
    "off",
    "fixed:1",
    "fixed:3",
    "specdec++:0.55,maximum=3",
    "confidence:0.3,maximum=3",
    "product:0.3,maximum=3",
    "svip:0.38,maximum=3",
    "adaedl:0.6,maximum=3,step=0.1",
    "logistic:0.4,maximum=3,every=1",
    "heuristic:1,maximum=3",
)
SETTINGS = (
    Sampling(max_tokens=3),
    Sampling(temperature=0.6, top_p=0.8, max_tokens=3),
    Sampling(temperature=1.5, top_k=2, repetition_penalty=1.6, max_tokens=3),
    Sampling(temperature=0, max_tokens=3),
)
EXACT = {torch.float64: 1e-9, torch.float32: 1e-6}
PROMPT = (0, 2, 1)


def speculative_law(
    policy: str, sampling: Sampling, dtype: torch.dtype = torch.float64, beside: Sequence[Sequence[int]] = ()
) -> Law:
    """The law of row 0's tokens; other rows, with seeded draws, may decode beside it."""
    target, draft = TableModel(1, dtype=dtype), TableModel(2, dtype=dtype)

    def run(tape: Tape) -> tuple[int, ...]:
        row = make_row(PROMPT, sampling, make(policy), tape)
        seeded = Sampling(temperature=0.9, max_tokens=4, seed=7)
        others = [make_row(prompt, seeded, make("fixed:2"), index=1) for prompt in beside]
        run_rows(Batch(target, draft, StubHead()), [row, *others])
        return tuple(row.output)

    return enumerate_law(run)


@pytest.mark.parametrize("sampling", SETTINGS, ids=["T1", "T0.6-p0.8", "T1.5-k2-penalty", "T0"])
@pytest.mark.parametrize("policy", POLICIES)
def test_law_of_three_tokens_is_the_targets(policy: str, sampling: Sampling) -> None:
    expected = target_law(TableModel(1), PROMPT, sampling, 3)
    assert distance(speculative_law(policy, sampling), expected) < EXACT[torch.float64]


@pytest.mark.parametrize("sampling", SETTINGS, ids=["T1", "T0.6-p0.8", "T1.5-k2-penalty", "T0"])
@pytest.mark.parametrize("policy", POLICIES)
def test_law_holds_in_float32(policy: str, sampling: Sampling) -> None:
    expected = target_law(TableModel(1), PROMPT, sampling, 3)
    assert distance(speculative_law(policy, sampling, torch.float32), expected) < EXACT[torch.float32]


@pytest.mark.parametrize("dtype", EXACT, ids=str)
@pytest.mark.parametrize("policy", POLICIES)
def test_law_holds_beside_other_rows_of_other_lengths(policy: str, dtype: torch.dtype) -> None:
    sampling = Sampling(temperature=0.8, max_tokens=2)
    expected = target_law(TableModel(1), PROMPT, sampling, 2)
    found = speculative_law(policy, sampling, dtype, beside=[(1,), (2, 2, 0, 1, 0)])
    assert distance(found, expected) < EXACT[dtype]


@pytest.mark.parametrize("sampling", SETTINGS, ids=["T1", "T0.6-p0.8", "T1.5-k2-penalty", "T0"])
def test_law_holds_beside_another_row_at_every_setting(sampling: Sampling) -> None:
    expected = target_law(TableModel(1), PROMPT, sampling, 3)
    found = speculative_law("product:0.3,maximum=2", sampling, beside=[(1,)])
    assert distance(found, expected) < EXACT[torch.float64]


@pytest.mark.parametrize("policy", ["fixed:2", "product:0.3,maximum=2"])
def test_joint_law_of_two_rows_is_a_product(policy: str) -> None:
    sampling, prompts = Sampling(max_tokens=2, temperature=0.7, top_p=0.9), (PROMPT, (1,))

    def run(tape: Tape) -> tuple[int, ...]:
        rows = [make_row(prompt, sampling, make(policy), tape) for prompt in prompts]
        run_rows(Batch(TableModel(1), TableModel(2), StubHead()), rows)
        return (*rows[0].output, *rows[1].output)

    laws = [target_law(TableModel(1), prompt, sampling, 2) for prompt in prompts]
    expected = {(*a, *b): x * y for a, x in laws[0].items() for b, y in laws[1].items()}
    assert distance(enumerate_law(run), expected) < EXACT[torch.float64]


@pytest.mark.parametrize("sampling", SETTINGS[:2], ids=["T1", "T0.6-p0.8"])
def test_dropping_a_drawn_token_by_its_value_is_caught(sampling: Sampling, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Proposer.propose

    def mutant(self: Proposer, among: int | None = None) -> list[Draft]:
        drafts = honest(self, among)
        for draft in drafts:
            if draft.tokens and draft.trail[-1].token_prob < 0.4:
                draft.tokens.pop()
                draft.trail.pop()
                draft.q.pop()
        return drafts

    monkeypatch.setattr(Proposer, "propose", mutant)
    expected = target_law(TableModel(1), PROMPT, sampling, 3)
    assert distance(speculative_law("product:0.01,maximum=2", sampling), expected) > 1e-3


def test_storing_the_unwarped_q_of_a_row_alone_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Solo._next

    def mutant(self: Solo, hidden: torch.Tensor, draft: Draft) -> tuple[int, torch.Tensor]:
        drawn = honest(self, hidden, draft)
        draft.q[-1] = torch.softmax(self.model.logits(hidden), dim=-1)[0]
        return drawn

    monkeypatch.setattr(Solo, "_next", mutant)
    expected = target_law(TableModel(1), PROMPT, SETTINGS[1], 3)
    assert distance(speculative_law("fixed:2", SETTINGS[1]), expected) > 1e-3


def test_storing_the_unwarped_q_of_several_rows_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Proposer._draw

    def mutant(
        self: Proposer, logits: torch.Tensor, active: list[int], drafts: list[Draft]
    ) -> tuple[list[int], torch.Tensor, list[float]]:
        drawn = honest(self, logits, active, drafts)
        for draft, line in zip(drafts, torch.softmax(logits, dim=-1), strict=True):
            draft.q[-1] = line
        return drawn

    monkeypatch.setattr(Proposer, "_draw", mutant)
    expected = target_law(TableModel(1), PROMPT, SETTINGS[1], 3)
    assert distance(speculative_law("fixed:2", SETTINGS[1], beside=[(1,)]), expected) > 1e-3
