"""The model card: newer figures take the place of older ones, and figures that are not the card's are told."""

from pathlib import Path

import pytest

from archon import zoo
from archon.zoo import card as module
from archon.zoo.card import Card, differing, load, save, text

FIGURES = {"greedy": [0.6, 0.5, 0.7], "calibration error": 0.2}
ONE = Card({"clerk": 100}, {"clerk": "ab"}, {"clerk": 900.0}, {"ledger": {"clerk": FIGURES}})
pytestmark = pytest.mark.skipif("clerk" not in zoo.names(), reason="the zoo's models are not here")


def test_figures_apart_from_the_cards_are_told() -> None:
    near = Card({}, {}, {}, {"ledger": {"clerk": {"greedy": [0.75, 0.69, 0.8]}}})
    far = Card({}, {}, {}, {"ledger": {"clerk": {"greedy": [0.8, 0.71, 0.85], "new": [0.1, 0.0, 0.2]}}})
    assert differing(near, ONE) == ([], 1)
    said, compared = differing(far, ONE)
    assert compared == 1
    assert said == ["ledger, clerk, solve, greedy: 80.0% (71.0–85.0) is not the card's 60.0% (50.0–70.0)"]


def test_other_weights_than_the_cards_are_told() -> None:
    assert differing(Card(weights={"clerk": "cd"}), ONE) == (
        ["clerk: these are not the weights that the card is about"],
        1,
    )


def test_models_measured_anew_replace_their_old_figures_alone() -> None:
    other = Card(
        {"till": 40}, {}, {"till": 5.0}, {"ledger": {"till": {"greedy": [0.5, 0.4, 0.6]}}}, {"ledger": {"models": 1}}
    )
    both = ONE.with_(other)
    assert list(both.figures["ledger"]) == ["clerk", "till"]
    assert both.speeds == {"clerk": 900.0, "till": 5.0}
    assert "(40 or 100 questions)" in text(both)
    # A vote of one model is not that of both.
    assert both.together == {}
    gone = Card({}, {}, {}, {"ledger": {"no such model": {}}})
    assert list(ONE.with_(gone).figures["ledger"]) == ["clerk"]


def test_what_is_saved_is_loaded_again_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "README.md"
    page.write_text("before <!-- measured -->old<!-- /measured --> after")
    monkeypatch.setattr(module, "PAGE", page)
    monkeypatch.setattr(module, "MEASURED", tmp_path / "measured.json")
    assert load() == Card()
    save(ONE)
    assert load() == ONE
    shown = page.read_text()
    assert shown.startswith("before <!-- measured -->")
    assert shown.endswith("<!-- /measured --> after")
    assert "old" not in shown
    assert "| solve, greedy | 60.0% (50.0–70.0) |" in shown
    assert "20.0%" in text(ONE)


def test_the_page_shows_what_was_measured_of_the_models_that_are_here() -> None:
    card, page = load(), module.PAGE.read_text()
    assert text(card) in page
    assert all(f"`{zoo.model(name).sha256}`" in page for name in zoo.names())
