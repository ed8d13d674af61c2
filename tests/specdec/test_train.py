"""Training end to end on a pair of made-up models: it learns, it resumes, it says what is wrong."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from specdec.__main__ import main
from specdec.calibrate import calibrate, calibrate_greedy
from specdec.dataset import Examples, Text
from specdec.decoder import SpecDecoder
from specdec.errors import SpecDecError
from specdec.head import AcceptanceHead, features
from specdec.head_config import HeadConfig
from specdec.head_files import load_head
from specdec.models import Loaded
from specdec.params import Sampling
from specdec.policies import Signal
from specdec.settings import Training
from specdec.threshold import Costs, Price, Window, derive
from specdec.train import Report, train
from specdec.windows import asked_share, inputs, is_cold, load_windows
from tests.specdec.tiny import TableModel

PROMPTS = [[i % 8, (3 * i) % 8, (i // 8) % 8] for i in range(60)]
SETTINGS = Training(epochs=6, depth=1, tokens=24, horizon=4, dev=0.2, batch=64, rate=1e-2)
COSTS = Costs(draft=0.1, verify=0.02)
PRICES = {0.0: Price(COSTS), 1.0: Price(COSTS)}


def pair() -> SpecDecoder:
    models = [Loaded(TableModel(seed, vocab=8), None, None, frozenset()) for seed in (1, 2)]
    return SpecDecoder(models[0], models[1], "fixed:2")


def trained(folder: Path, settings: Training = SETTINGS) -> Report:
    return train(pair(), PROMPTS, settings, PRICES, folder)


def test_a_head_learns_what_the_draft_alone_does_not_know(tmp_path: Path) -> None:
    report = trained(tmp_path)
    assert report.losses[-1] < report.losses[0]
    assert report.quality.auroc > report.quality.peak_auroc + 0.02
    assert 0 <= report.thresholds[1.0].h <= 1


def test_calibration_undoes_the_pessimism_of_a_loss_that_weighs_rejections(tmp_path: Path) -> None:
    quality = trained(tmp_path, replace(SETTINGS, w_rej=6.0)).quality
    assert quality.ece_after < 0.5 * quality.ece_before


def test_the_written_head_decodes_and_brings_its_threshold(tmp_path: Path) -> None:
    report = trained(tmp_path)
    config = load_head(tmp_path).config
    assert config.stopping_at(1.0).threshold == report.thresholds[1.0].h
    assert config.stopping_at(0.0).threshold == report.thresholds[0.0].h
    models = pair()
    decoder = SpecDecoder(models.target, models.draft, head=tmp_path)
    expected = SpecDecoder(models.target).generate(PROMPTS[:4], Sampling(temperature=0, max_tokens=20))
    found = decoder.generate(PROMPTS[:4], Sampling(temperature=0, max_tokens=20))
    assert [result.tokens for result in found] == [result.tokens for result in expected]
    assert sum(result.accepted for result in found) > 0


def test_a_killed_run_goes_on_to_the_same_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained(tmp_path / "whole")
    from specdec import train as module

    honest, calls = module._Run.one_epoch, 0

    def killed(self: module._Run, *arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        honest(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module._Run, "one_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed")
    monkeypatch.undo()
    resumed = trained(tmp_path / "killed")
    assert resumed.losses == whole.losses
    for name, value in whole.head.state_dict().items():
        assert torch.equal(value, resumed.head.state_dict()[name])


def test_a_run_killed_while_its_texts_are_written_writes_only_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(tmp_path / "whole")
    from specdec import texts as module

    monkeypatch.setattr(module, "_AT_ONCE", 4)
    honest, asked = module._continued, list[range]()

    def noted(*given: Any) -> list[Text]:
        asked.append(given[3])
        return honest(*given)

    def killed(*given: Any) -> list[Text]:
        if len(asked) == 2:
            raise KeyboardInterrupt
        return noted(*given)

    monkeypatch.setattr(module, "_continued", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed")
    file = tmp_path / "killed" / "texts.jsonl"
    assert len(file.read_text().splitlines()) == 8
    file.write_text(file.read_text()[:-5])  # the kill cut the last line off
    asked.clear()
    monkeypatch.setattr(module, "_continued", noted)
    resumed = trained(tmp_path / "killed")
    assert asked[0].start == 7
    assert resumed.losses == whole.losses


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    with pytest.raises(SpecDecError, match="other settings"):
        trained(tmp_path, Training(epochs=2, depth=2, tokens=24, horizon=4))
    with pytest.raises(SpecDecError, match="other prompts"):
        train(pair(), PROMPTS[1:], SETTINGS, PRICES, tmp_path)
    other = SpecDecoder(pair().target, Loaded(TableModel(3, vocab=8), None, None, frozenset()), "fixed:2")
    with pytest.raises(SpecDecError, match="other models"):
        train(other, PROMPTS, SETTINGS, PRICES, tmp_path)


def test_what_a_head_is_asked_about_is_counted_up_to_where_drafting_ends() -> None:
    # Of the first roll-out three tokens are drafted (.9·.9·.5 < .5), of the second two; it is asked about two of five.
    windows = [Window((0.9, 0.9, 0.5, 0.1), (1.0,) * 4), Window((0.9, 0.4, 0.3), (1.0,) * 3)]
    q = torch.tensor([0.95, 0.97, 0.5, 0.1, 0.96, 0.4, 0.3])
    some = Examples(
        hidden=torch.zeros(7, 4),
        features=torch.cat((torch.logit(q).unsqueeze(-1) / 5, torch.zeros(7, 4)), -1),
        token=q, overlap=q, standing=torch.ones(7),
        window=torch.tensor([0, 0, 0, 0, 1, 1, 1]), place=torch.tensor([1, 2, 3, 4, 1, 2, 3]),
    )  # fmt: skip
    assert asked_share(AcceptanceHead(HeadConfig(4, 1)).with_sure(0.9), some, windows) == pytest.approx(2 / 5)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    trained(tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"cut")
    with pytest.raises(SpecDecError, match=r"checkpoint.pt is damaged"):
        trained(tmp_path)


def test_the_report_says_what_was_measured(tmp_path: Path) -> None:
    trained(tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["temperatures"]["0"]["costs"]["draft"] == 0.1
    assert report["temperatures"]["1"]["rate"] > 0
    assert all(math.isfinite(value) for value in report["quality"].values())


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"mix": 1.0}, {"temperatures": ()}, {"label": "both"}, {"w_rej": 0.0}]
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SpecDecError, match="training settings"):
        Training(**wrong)  # type: ignore[arg-type]


def test_a_pair_without_a_draft_is_refused(tmp_path: Path) -> None:
    alone = SpecDecoder(pair().target)
    with pytest.raises(SpecDecError, match="needs a draft model"):
        train(alone, PROMPTS, SETTINGS, PRICES, tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no prompts at"),
        ("", "holds no prompts"),
        ("{]\n", "line 1: not JSON"),
        ('{"prompt": "ok"}\n{"text": "x"}\n', 'line 2: "prompt" must be a text'),
        ('{"prompt": [1, "2"]}\n', "line 1"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_the_command_names_what_is_wrong_with_the_prompts(
    content: str | bytes | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "prompts.jsonl"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    code = main(["train", "--target", "t", "--draft", "d", "--data", str(file), "--out", str(tmp_path / "head")])
    assert code == 2
    assert words in capsys.readouterr().err


def test_the_command_names_a_missing_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": [1]}\n')
    code = main(["train", "--target", "/nowhere/t", "--draft", "d", "--data", str(file), "--out", str(tmp_path / "h")])
    assert code == 2
    assert (
        capsys.readouterr().err
        == "specdec: no model at /nowhere/t: a Hugging Face folder with config.json and weights is needed\n"
    )


def test_the_dev_roll_outs_lie_beside_the_head_for_other_machines(tmp_path: Path) -> None:
    trained(tmp_path)
    windows = load_windows(tmp_path)
    for kind in windows:
        assert kind
        assert all(len(window.predicted) == len(window.actual) > 0 for window in kind)
        assert 0 <= derive(kind, COSTS).h <= 1
    # At temperature 0 a token stands or falls.
    assert {chance for window in windows.cold for chance in window.actual} <= {0.0, 1.0}
    assert (windows.at(0), windows.at(0.7)) == (windows.cold, windows.warm)
    assert windows._replace(warm=[]).at(0.7) == windows.cold
    with pytest.raises(SpecDecError, match="no roll-outs at"):
        load_windows(tmp_path / "none")


def test_the_command_trains_a_head_and_prints_its_threshold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import transformers

    for name, layers in (("target", 2), ("draft", 1)):
        config = transformers.LlamaConfig(
            vocab_size=40,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=layers,
            num_attention_heads=2,
            max_position_embeddings=256,
            bos_token_id=None,
            eos_token_id=None,
        )
        transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / name)
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(f'{{"prompt": [{i}, {i + 1}]}}\n' for i in range(12)))
    folders = [
        "--target",
        str(tmp_path / "target"),
        "--draft",
        str(tmp_path / "draft"),
        "--out",
        str(tmp_path / "head"),
    ]
    assert main(["train", *folders, "--data", str(file), "--epochs", "1", "--tokens", "16"]) == 0
    printed = capsys.readouterr().out
    assert "temperature 0: threshold h* = " in printed
    assert "temperature 1: threshold h* = " in printed
    assert "AUROC" in printed
    assert "temperature 1, 64 rows together: " in printed
    head = load_head(tmp_path / "head")
    for tuned in (head.config.stopping, head.config.cold):
        assert tuned is not None
        assert tuned.threshold is not None
        assert [batch for batch, _, _ in tuned.stages] == [1, 2, 4, 8, 16, 64]
    again = [
        "tune",
        *folders[:4],
        "--head",
        folders[-1],
        "--prompts",
        str(file),
        "--tokens",
        "4",
        "--batches",
        "2",
        "--temperature",
        "1",
    ]
    assert main(again) == 0
    assert capsys.readouterr().out.startswith("temperature 1, 2 rows together: ")
    again_tuned = load_head(tmp_path / "head").config
    assert [batch for batch, _, _ in again_tuned.stopping.stages] == [2]
    # What was not asked about stays as it was.
    assert again_tuned.cold == head.config.cold


@pytest.mark.parametrize(("hidden_tells", "asking"), [(False, 0.0), (True, 0.0), (True, 5.0)])
def test_at_temperature_0_the_head_is_asked_only_where_that_pays(hidden_tells: bool, asking: float) -> None:
    dev = made_up(hidden_tells=hidden_tells)
    head = AcceptanceHead(HeadConfig(1, 0))
    with torch.no_grad():
        head.out.weight[:, 0] = torch.tensor([-4.0, 4.0]) if hidden_tells else torch.tensor([-1.0, 1.0])
    settings = Training(sure=2.0)
    found = calibrate_greedy(calibrate(head, dev, settings), dev, settings, Price(Costs(0.2, 0.1), asking))
    assert (found.config.greedy is None) == (hidden_tells and asking == 0)
    warm = dev.some(~is_cold(dev))
    assert not found.surely(inputs(found.config, warm)).any()


def made_up(*, hidden_tells: bool) -> Examples:
    """300 roll-outs of three tokens at temperatures 0 and 1: a token stands by a hidden number of ±1, or as often as q
    says while the hidden number is noise."""
    generator, count = torch.Generator().manual_seed(0), 900
    hidden = torch.randint(2, (count, 1), generator=generator).float() * 2 - 1
    q = torch.rand(count, generator=generator) * 0.8 + 0.15
    token = (hidden[:, 0] > 0).float() if hidden_tells else (torch.rand(count, generator=generator) < q).float()
    window, place = torch.arange(count) // 3, torch.arange(count) % 3 + 1
    heats = (window % 4 < 2).float()
    lines = [
        features(Signal(chance, chance), at, heat)
        for chance, at, heat in zip(q.tolist(), place.tolist(), heats.tolist(), strict=True)
    ]
    return Examples(hidden, torch.tensor(lines), token, token, torch.ones(count), window, place)


@pytest.mark.parametrize("saved", [[], {"x": 1}, {"head": {}, "optimiser": {}, "epoch": 1, "losses": 3}], ids=str)
def test_a_checkpoint_that_holds_something_else_is_named(saved: object, tmp_path: Path) -> None:
    trained(tmp_path)
    torch.save(saved, tmp_path / "checkpoint.pt")
    with pytest.raises(SpecDecError, match=r"checkpoint\.pt is damaged"):
        trained(tmp_path)


def test_texts_that_are_no_text_are_named(tmp_path: Path) -> None:
    trained(tmp_path)
    (tmp_path / "texts.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(SpecDecError, match=r"texts\.jsonl is damaged"):
        trained(tmp_path)


@pytest.mark.parametrize(
    "cold", ["[]", "3", "[[[0.5], []]]", "[[[2], [1]]]", "[[0.5]]"], ids=["none", "number", "short", "chance", "flat"]
)
def test_roll_outs_that_nothing_can_be_derived_from_are_named(cold: str, tmp_path: Path) -> None:
    (tmp_path / "windows.json").write_text(f'{{"cold": {cold}, "warm": []}}')
    with pytest.raises(SpecDecError, match=r"roll-outs at .* are damaged"):
        load_windows(tmp_path)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--seed", "100000000000000"), "seed in 0"),
        (("--batches", "0"), "--batches needs sizes of at least 1"),
        (("--out", "{file}"), "is a file: give a folder"),
    ],
)
def test_wrong_options_are_refused_before_a_model_is_loaded(
    more: tuple[str, str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": [1]}\n')
    rest = [part.format(file=file) for part in more]
    usual = ["train", "--target", "/nowhere", "--draft", "d", "--data", str(file), "--out", str(tmp_path / "head")]
    assert main([*usual, *rest]) == 2
    assert words in capsys.readouterr().err


def test_a_head_trained_at_one_kind_of_temperature_is_tuned_for_that_kind(tmp_path: Path) -> None:
    report = train(pair(), PROMPTS, replace(SETTINGS, temperatures=(0.7, 1.0), epochs=1), {1.0: Price(COSTS)}, tmp_path)
    assert list(report.thresholds) == [1.0]
    config = load_head(tmp_path).config
    assert (config.cold, config.stopping.threshold) == (None, report.thresholds[1.0].h)
    assert not load_windows(tmp_path).cold
