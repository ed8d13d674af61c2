"""The acceptance head: its form, its file, and the authors' form."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from specdec.errors import SpecDecError
from specdec.files import check_head
from specdec.head import AcceptanceHead, ResidualBlock, features
from specdec.head_config import HeadConfig
from specdec.head_files import load_authors, load_head, save_head
from specdec.head_predictor import predictor_of
from specdec.policies import Signal
from specdec.signals import Predictor, with_head


def lively(config: HeadConfig) -> AcceptanceHead:
    """A head with no weight left at zero."""
    head, generator = AcceptanceHead(config), torch.Generator().manual_seed(1)
    for parameter in head.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 3
    return head.eval()


def ready(head: AcceptanceHead) -> Predictor:
    return predictor_of(head, torch.float32, torch.device("cpu"))


@torch.inference_mode()
@pytest.mark.parametrize(
    "config",
    [
        HeadConfig(4, 3, scale=0.6, shift=-0.4),
        HeadConfig(4, 0, scale=0.7, shift=0.3),
        HeadConfig(4, 0, False),
        HeadConfig(4, 2, False),
        HeadConfig(4, 1, sure=0.9, sure_scale=0.7, sure_shift=0.3),
        HeadConfig(4, 0, sure=0.9, sure_scale=0.7, sure_shift=0.3),
        HeadConfig(4, 0, sure=0.9, sure_scale=0.7, sure_shift=0.3, greedy=(1.2, 0.5)),
    ],
)
def test_the_fast_form_predicts_what_the_module_does(config: HeadConfig) -> None:
    head, hidden = lively(config), torch.randn(3, 4, generator=torch.Generator().manual_seed(5))
    signals = [Signal(0.9, 0.95, 0.1), Signal(0.2, 0.5, 1.4), Signal(1.0, 1.0, 0.0)]
    extra = torch.tensor([features(signal, place, 0.7) for place, signal in enumerate(signals, 1)])
    x = torch.cat((hidden, extra), -1) if config.features else hidden
    found = with_head(ready(head), hidden, signals, [1, 2, 3], [0.7] * 3)
    assert [signal.accept for signal in found] == pytest.approx(head.calibrated(x).tolist(), abs=1e-6)


def test_a_token_the_draft_is_sure_of_is_judged_by_its_probability_alone() -> None:
    head = ready(lively(HeadConfig(4, 1)).with_sure(0.9, 0.5, 1.0))
    known = head.known(0.9, 0.0)
    assert known == pytest.approx(1 / (1 + math.exp(-(0.5 * math.log(9) + 1.0))))
    assert head.known(0.8, 0.0) is None
    signals = [Signal(0.9, 0.9), Signal(0.8, 0.8)]
    first, second = with_head(head, torch.ones(2, 4), signals, [1, 1], [0.0, 0.0])
    alone = head.predict(torch.ones(1, 4), signals[1:], [1], [0.0])
    # What a token is told does not depend on the company it is asked in.
    assert (first.accept, second.accept) == pytest.approx((known, *alone))


def test_nothing_is_predicted_where_the_draft_is_sure_of_all_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    head = ready(lively(HeadConfig(4, 1)).with_sure(0.9))
    monkeypatch.setattr(head, "predict", None)
    (found,) = with_head(head, torch.ones(1, 4), [Signal(0.95, 0.95)], [1], [1.0])
    assert found.accept == pytest.approx(0.95)


@pytest.mark.parametrize("depth", [0, 1])
def test_a_head_that_is_not_asked_at_temperature_0_goes_by_q_there(depth: int) -> None:
    head = lively(HeadConfig(4, depth, sure=0.9, sure_scale=0.7, sure_shift=0.3)).with_greedy(1.2, 0.4)
    hidden, signal = torch.randn(2, 4, generator=torch.Generator().manual_seed(5)), Signal(0.6, 0.7)
    by_q = 1 / (1 + math.exp(-(1.2 * math.log(0.6 / 0.4) + 0.4)))
    assert ready(head).known(0.6, 0.0) == pytest.approx(by_q)
    assert ready(head).known(0.6, 0.7) is None
    x = torch.cat((hidden, torch.tensor([features(signal, 1, heat) for heat in (0.0, 0.7)])), -1)
    assert head.surely(x).tolist() == [True, False]
    found = with_head(ready(head), hidden, [signal, signal], [1, 1], [0.0, 0.7])
    assert [one.accept for one in found] == pytest.approx(head.calibrated(x).tolist(), abs=1e-6)
    assert found[0].accept == pytest.approx(by_q)


@pytest.mark.parametrize("depth", [0, 1])
def test_one_prediction_is_that_of_many(depth: int) -> None:
    head, hidden = ready(lively(HeadConfig(4, depth))), torch.randn(3, 4, generator=torch.Generator().manual_seed(5))
    signals = [Signal(0.9, 0.95), Signal(0.2, 0.5), Signal(0.6, 0.6)]
    together = head.predict(hidden, signals, [1, 2, 3], [0.0, 0.7, 1.0])
    alone = [
        head.predict_one(hidden[i : i + 1], signal, i + 1, heat)
        for i, (signal, heat) in enumerate(zip(signals, (0.0, 0.7, 1.0), strict=True))
    ]
    assert alone == pytest.approx(together, abs=1e-6)


def test_a_head_is_residual_blocks_then_a_linear_layer() -> None:
    head, x = lively(HeadConfig(3, depth=2, features=False)), torch.tensor([[0.5, -1.0, 2.0]])
    expected = x
    for block in head.blocks:
        assert isinstance(block, ResidualBlock)
        inner = expected @ block.linear.weight.T + block.linear.bias
        expected = expected + inner * torch.sigmoid(inner)
    both = expected @ head.out.weight.T + head.out.bias
    # P(accept) = softmax of the two outputs at the second = σ(second − first).
    assert head.calibrated(x).item() == pytest.approx(torch.softmax(both, -1)[0, 1].item(), abs=1e-6)


def test_blocks_have_weights_of_their_own_unless_shared() -> None:
    def count(shared: bool) -> int:
        return sum(
            p.numel() for p in AcceptanceHead(HeadConfig(4, 3, features=False, shared_blocks=shared)).parameters()
        )

    assert count(False) == 3 * (16 + 4) + (8 + 2)
    assert count(True) == (16 + 4) + (8 + 2)


@pytest.mark.parametrize(
    "config", [HeadConfig(4), HeadConfig(4, 0, greedy=(1.5, 0.5)), HeadConfig(4, 3, shared_blocks=True, scale=0.5)]
)
def test_a_head_comes_back_from_its_file_as_it_was(config: HeadConfig, tmp_path: Path) -> None:
    head, x = lively(config), torch.randn(5, config.inputs, generator=torch.Generator().manual_seed(2))
    save_head(head, tmp_path)
    again = load_head(tmp_path)
    assert again.config == config
    assert torch.equal(again.calibrated(x), head.calibrated(x))


def test_a_head_for_other_features_is_refused(tmp_path: Path) -> None:
    save_head(lively(HeadConfig(4)), tmp_path)
    file = tmp_path / "head.json"
    for reads in (["token_logit", "entropy"], None):
        told = {**json.loads(file.read_text()), "reads": reads}
        file.write_text(json.dumps(told if reads else {name: told[name] for name in told if name != "reads"}))
        with pytest.raises(SpecDecError, match=r"made by another version.*train it anew"):
            load_head(tmp_path)


def test_calibration_moves_the_logit() -> None:
    head, x = lively(HeadConfig(4)), torch.ones(1, 8)
    raw = head(x).item()
    tuned = head.tuned(scale=0.5, shift=1.0)
    assert tuned.calibrated(x).item() == pytest.approx(torch.sigmoid(torch.tensor(0.5 * raw + 1.0)).item())


@pytest.mark.parametrize("depth", [0, 1])
def test_features_change_what_the_head_says(depth: int) -> None:
    head, hidden = ready(lively(HeadConfig(4, depth))), torch.zeros(2, 4)
    signals = [Signal(0.9, 0.95, 0.1), Signal(0.2, 0.5, 1.4)]
    first = head.predict(hidden, signals, [1, 1], [0.0, 0.0])
    assert first[0] != first[1]
    assert head.predict(hidden, signals, [1, 2], [0.0, 0.0])[1] != first[1]
    assert head.predict(hidden, signals, [1, 1], [0.0, 1.0])[1] != first[1]


def authors(depth: int) -> dict[str, Tensor]:
    """A checkpoint as theirs: one block repeated `depth` times, then a linear layer."""
    generator = torch.Generator().manual_seed(3)
    weight, bias = torch.randn(4, 4, generator=generator), torch.randn(4, generator=generator)
    state = {f"{i}.linear.{kind}": value for i in range(depth) for kind, value in (("weight", weight), ("bias", bias))}
    return state | {
        f"{depth}.weight": torch.randn(2, 4, generator=generator),
        f"{depth}.bias": torch.randn(2, generator=generator),
    }


def test_the_authors_checkpoints_are_read_with_their_shared_block() -> None:
    state, x = authors(3), torch.randn(2, 4, generator=torch.Generator().manual_seed(4))
    head = load_authors(state)
    expected = x
    for _ in range(3):
        expected = expected + torch.nn.functional.silu(expected @ state["0.linear.weight"].T + state["0.linear.bias"])
    both = expected @ state["3.weight"].T + state["3.bias"]
    assert torch.allclose(head.calibrated(x), torch.softmax(both, -1)[:, 1])
    assert sum(p.numel() for p in head.parameters()) == 20 + 10


def test_as_many_blocks_as_the_authors_like_are_read() -> None:
    assert load_authors(authors(12)).config.depth == 12


@pytest.mark.parametrize("name", ["theirs.pt", "theirs.safetensors"])
def test_the_authors_checkpoints_are_read_from_files(name: str, tmp_path: Path) -> None:
    state, file = authors(1), tmp_path / name
    if file.suffix == ".pt":
        torch.save(state, file)
    else:
        save_file(state, file)
    found, expected = load_authors(file), load_authors(state)
    assert all(torch.equal(found.state_dict()[key], value) for key, value in expected.state_dict().items())


@pytest.mark.parametrize(
    "state",
    [
        {},
        {0: torch.zeros(2, 4)},
        {"weight": torch.zeros(2, 4)},
        {"0.linear.weight": torch.zeros(4, 4)},
        authors(1) | {"1.bias": torch.full((2,), torch.nan)},
        authors(2) | {"1.linear.bias": torch.zeros(4)},
    ],
    ids=["none", "unnamed", "one", "no bias", "nan", "unlike"],
)
def test_another_checkpoint_than_the_authors_is_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(SpecDecError, match="authors' form"):
        load_authors(state)
    torch.save([1], tmp_path / "other.pt")
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "text.pt").write_text("hello world")
    unread = "no checkpoint can be read"
    for file, words in (
        ("other.pt", "holds no tensors"),
        ("none.pt", unread),
        ("empty.pt", unread),
        ("text.pt", unread),
    ):
        with pytest.raises(SpecDecError, match=words):
            load_authors(tmp_path / file)


def test_the_authors_heads_say_nothing_of_the_first_token() -> None:
    head = ready(load_authors(authors(2)))
    chances = head.predict(torch.ones(2, 4), [Signal(), Signal()], [1, 2], [1.0, 1.0])
    assert chances[0] == 1.0
    assert 0 < chances[1] < 1


def write(folder: Path, **changes: object) -> Path:
    save_head(AcceptanceHead(HeadConfig(4, 1)), folder)
    config = json.loads((folder / "head.json").read_text())
    (folder / "head.json").write_text(json.dumps(config | changes))
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 5},
        {"width": None},
        {"depth": 2},
        {"depth": 0},
        {"lag": 3},
        {"lag": True},
        {"features": "no"},
        {"features": False, "greedy": [1.0, 0.0], "reads": []},
        {"width": 10**30},
        {"scale": 10**400},
        {"low": None},
        {"low": 2.0},
        {"scale": float("nan")},
        {"sure_shift": None},
        {"asked": -1},
        {"greedy": [1.0]},
        {"greedy": [1.0, "a"]},
        {"stopping": None},
        {"stopping": {"threshold": "abc"}},
        {"stopping": {"threshold": 1.5}},
        {"stopping": {"multiplier": 0}},
        {"stopping": {"speed": 3}},
        {"stopping": {"stages": [[4, 0.5, 6], [2, 0.5, 6]]}},
        {"stopping": {"stages": [[1, 0.5, -1]]}},
        {"stopping": {"stages": [[1, 0.5, float("inf")]]}},
        {"cold": 5},
    ],
    ids=str,
)
def test_a_head_file_that_is_not_what_it_says_is_refused(changes: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(SpecDecError, match=r"the head at .* is damaged") as caught:
        load_head(write(tmp_path, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["null", '"x"', "[1]", "{", "\xff"])
def test_a_head_file_that_is_no_object_is_refused(text: str, tmp_path: Path) -> None:
    (write(tmp_path) / "head.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(SpecDecError, match=r"the head at .* is damaged: .*train it anew") as caught:
        load_head(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_head_of_an_earlier_version_says_so(tmp_path: Path) -> None:
    with pytest.raises(SpecDecError, match=r"another version \(it has stages, threshold\): train it anew"):
        load_head(write(tmp_path, threshold=0.3, stages=[]))


def test_what_is_known_without_torch_is_refused_as_the_loader_does(tmp_path: Path) -> None:
    draft = tmp_path / "draft"
    draft.mkdir()
    (draft / "config.json").write_text('{"hidden_size": 4}')
    check_head(write(tmp_path / "head"), draft)
    for changes in ({"scale": None}, {"stages": []}, {"width": 7}):
        with pytest.raises(SpecDecError):
            check_head(write(tmp_path / "head", **changes), draft)


def test_a_head_file_with_nan_is_refused(tmp_path: Path) -> None:
    head = AcceptanceHead(HeadConfig(4, 1))
    head.out.bias.data[0] = torch.nan
    save_head(head, tmp_path)
    with pytest.raises(SpecDecError, match="NaN"):
        load_head(tmp_path)


def test_a_missing_head_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SpecDecError, match="python -m specdec train"):
        load_head(tmp_path / "none")


@pytest.mark.parametrize("depth", [0, 2])
def test_before_anything_is_learnt_the_head_says_what_the_draft_says(depth: int) -> None:
    head = AcceptanceHead(HeadConfig(width=8, depth=depth))
    chances = [0.02, 0.3, 0.5, 0.9, 0.999]
    lines = [[*features(Signal(q, 0.99, 0.0), place, 0.7)] for place, q in enumerate(chances, 1)]
    x = torch.cat([torch.randn(len(chances), 8), torch.tensor(lines)], dim=-1)
    assert torch.allclose(head.calibrated(x), torch.tensor(chances), atol=1e-5)
