"""A draft learns its teacher's next tokens, from lessons and from what the teacher drew."""

from dataclasses import replace
from pathlib import Path

import pytest

from archon.zoo.distil import Distiller
from archon.zoo.recipes import recipe

OF_ABACUS = replace(recipe("captain-draft"), teacher="abacus", vocabulary=512, texts=("ledger",))
SMALL = replace(OF_ABACUS, step_tokens=1024).scaled(30)


def test_the_draft_comes_nearer_to_its_teacher(tmp_path: Path) -> None:
    trainer = Distiller(SMALL, tmp_path, drawn=12)
    batch = trainer._own[:4]
    before = trainer._loss(batch, 1.0).item()
    for _ in range(8):
        trainer.advance()
    assert trainer._loss(batch, 1.0).item() < before


def test_what_the_teacher_drew_is_kept(tmp_path: Path) -> None:
    first = Distiller(SMALL, tmp_path, drawn=6)._own
    written = (tmp_path / "drawn.jsonl").read_bytes()
    assert Distiller(SMALL, tmp_path, drawn=6)._own == first
    assert (tmp_path / "drawn.jsonl").read_bytes() == written


def test_steps_alternate_between_lessons_and_the_teachers_own_answers(tmp_path: Path) -> None:
    trainer = Distiller(SMALL, tmp_path, drawn=6)
    own = [made.ids for made in trainer._own]
    assert not all(made.ids in own for made in trainer._lessons())
    trainer.step = 1
    assert all(made.ids in own for made in trainer._lessons())


def test_what_is_known_of_its_own_answers_is_what_the_teacher_says(tmp_path: Path) -> None:
    trainer = Distiller(SMALL, tmp_path, drawn=6)
    batch = trainer._own[:3]
    kept = trainer._loss(batch, 1.0).item()
    trainer._known = {}
    assert trainer._loss(batch, 1.0).item() == pytest.approx(kept, rel=1e-3)


def test_a_recipe_without_a_teacher_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names no teacher"):
        Distiller(replace(SMALL, teacher=None), tmp_path)


def test_a_draft_as_wide_as_its_teacher_starts_from_it(tmp_path: Path) -> None:
    of_clerk = replace(recipe("captain-draft"), teacher="clerk", vocabulary=512, texts=("ledger",), step_tokens=1024)
    trainer = Distiller(of_clerk.scaled(10), tmp_path, drawn=3)
    mine, known = (model.model.embed_tokens.weight for model in (trainer.model, trainer.teacher.model))
    assert mine.equal(known)
